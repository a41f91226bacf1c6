// Views are made anew from the state and laid over what is shown: what did not change is not touched, so that focus,
// a ticked box and the place in the page stay.

/** An element: `h("p", { class: "hint" }, "text", another)`. Attributes that are false or null are left out. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

/** A picture of strokes, on a square of 24; it says nothing to who does not see it. */
export function strokes(...paths) {
  const make = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    return node;
  };
  const picture = make("svg", { viewBox: "0 0 24 24", width: 24, height: 24, "aria-hidden": "true" });
  picture.append(...paths.map((d) => make("path", { d })));
  return picture;
}

const keyOf = (node) => node.dataset?.key;
const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

/** Lay the children of `fresh` over those of `shown`. Elements with `data-key` are found wherever they stood. */
export function lay(shown, fresh) {
  const keyed = new Map([...shown.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let next = shown.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = keyOf(wanted) ? keyed.get(keyOf(wanted)) : next;
    if (!known || !alike(known, wanted)) {
      shown.insertBefore(wanted, next);
      continue;
    }
    if (known === next) next = next.nextSibling;
    else shown.insertBefore(known, next);
    update(known, wanted);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

function update(shown, wanted) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  lay(shown, wanted);
}

/** Show a view, with the focus where it was. */
export function show(place, view) {
  const focused = document.activeElement;
  lay(place, view);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}
