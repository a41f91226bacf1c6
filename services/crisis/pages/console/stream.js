// The live line: server-sent events read with fetch, since EventSource cannot send the token. It is taken up again
// for ever, from where it broke off.
import { headers } from "./session.js";

const SILENCE = 25_000; // the service says something every 10 s
const url = `${document.body.dataset.root}/v1/incidents/stream`;

let controller = new AbortController();
let lastId = "";
let lastByte = 0;
let wake = () => {};
let stopped = false;

// `on` has event(name, data), up() and away().
/** Read until the token is refused, or until `stop`. Resolves to the status, or to null. */
export async function follow(on) {
  stopped = false;
  for (let failures = 0; !stopped; failures += 1) {
    try {
      const status = await once(on, () => (failures = 0));
      if (status === 401 || status === 403) return status;
    } catch {
      // cut off, silent or refused by a proxy: all the same
    }
    if (stopped) break;
    on.away();
    const pause = Math.min(10_000, 500 * 2 ** failures) * (0.75 + Math.random() / 2);
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, pause);
    });
  }
  return null;
}

async function once(on, heard) {
  controller = new AbortController();
  let silence = setTimeout(() => controller.abort(), SILENCE);
  try {
    const more = lastId ? { "Last-Event-ID": lastId } : {};
    const sent = { headers: { Accept: "text/event-stream", ...headers(), ...more }, cache: "no-store" };
    const answer = await fetch(url, { ...sent, signal: controller.signal });
    if (!answer.ok) return answer.status;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return 200;
      clearTimeout(silence);
      silence = setTimeout(() => controller.abort(), SILENCE);
      lastByte = Date.now();
      heard();
      on.up();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => read(block, on));
    }
  } finally {
    clearTimeout(silence);
  }
}

function read(block, on) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.match(/^(\w*): ?(.*)$/)?.slice(1) ?? ["", ""]));
  if (fields.data) on.event(fields.event, JSON.parse(fields.data));
  if (fields.id) lastId = fields.id; // only once it has been taken in
}

/** The phone is awake or has a line again: do not wait, and do not trust a line that has been silent. */
export function nudge() {
  if (Date.now() - lastByte > 15_000) controller.abort();
  wake();
}

/** Read no more. The next line begins with everything. */
export function stop() {
  stopped = true;
  lastId = "";
  controller.abort();
  wake();
}
