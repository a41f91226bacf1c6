// What is shown, as a function of the state: the frame, the lists, and the page to sign in.
import * as alarm from "./alarm.js";
import { detail } from "./details.js";
import { h, strokes } from "./dom.js";
import { button, chip, clocks, since, trouble } from "./parts.js";
import { signIn } from "./session.js";
import { calls, hour, listed, measured, moment, otherLanguage, over, standing, t, what, who } from "./words.js";

const TABS = ["open", "calendar", "drills", "past"];

export function page(state) {
  if (!state.signedIn) return frame(state, h("main", { id: "main", class: "narrow" }, entry(state)));
  const chosen = state.place.incident ? state.incidents.get(state.place.incident) ?? state.fetched : null;
  const beside = state.wide && state.place.tab === "open" ? chosen ?? sorted(state)[0] : chosen;
  const list = h("section", { id: "list", class: state.place.tab === "open" ? "list low" : "list", "aria-labelledby": "list-heading" }, tab(state, beside), below());
  const shown = beside ? detail(state, beside) : state.place.incident ? missing(state) : null;
  return frame(
    state,
    h("main", { id: "main", class: shown && !state.wide ? "one" : shown ? "both" : "one" },
      (state.wide || !shown) && list, shown),
    (state.wide || !shown) && nav(state),
  );
}

// --- the frame ------------------------------------------------------------------------------------------------

function frame(state, main, foot) {
  return h("div", { class: "frame" },
    h("a", { class: "skip", href: "#main", "data-do": "skip" }, t("skip")),
    h("header", {},
      h("h1", {}, t("title")),
      state.signedIn && live(state),
      state.signedIn && alarmButton(),
      h("button", { class: "quiet", "data-do": "language", lang: otherLanguage() === "zh" ? "zh-CN" : "en" }, t("language.other"))),
    state.signedIn && banner(state),
    main,
    foot);
}

const live = (state) =>
  h("p", { class: `link ${state.link}` }, h("span", { class: "dot" }), t(state.link === "live" ? "live" : "live.connecting"));

function alarmButton() {
  const on = alarm.allowed();
  return h("button", { class: "quiet icon", "data-do": "alarm", "aria-pressed": String(on), "aria-label": t("alarm"), title: t(on ? "alarm.on" : "alarm.off") }, bell(on));
}

const bell = (on) => strokes("M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15z", "M10 21a2 2 0 0 0 4 0", ...(on ? [] : ["M4 3l17 18"]));

function banner(state) {
  const lines = [];
  if (state.link === "offline") lines.push(state.lastSeen ? t("live.offline", { time: hour(state.lastSeen) }) : t("live.offline.never"));
  if (state.link === "live" && !state.whole) lines.push(t("live.partial"));
  if (state.link === "live" && !state.stored) lines.push(t("live.unstored"));
  return h("div", { class: "banner", role: "status", "data-key": "banner" },
    lines.map((line) => h("p", {}, line)),
    state.link === "offline" && numbers());
}

export function numbers() {
  const call = (line) => h("a", { class: line.urgent ? "call urgent" : "call", href: `tel:${line.number}` }, h("strong", {}, line.number), line.name);
  return [
    h("p", { class: "hint" }, t("calls.heading")),
    h("div", { class: "calls" }, calls().filter((line) => line.urgent).map(call)),
    h("details", { "data-key": "calls" }, h("summary", {}, t("calls.more")), h("div", { class: "calls" }, calls().filter((line) => !line.urgent).map(call))),
  ];
}

function nav(state) {
  const waiting = sorted(state).filter((incident) => incident.awaiting_acknowledgement).length;
  return h("nav", { class: "tabs", "aria-label": t("title") },
    TABS.map((one) => h("a", { href: `#${one}`, "aria-current": state.place.tab === one ? "page" : false }, t(`tab.${one}`), one === "open" && waiting > 0 && h("span", { class: "count" }, waiting))));
}

// --- signing in -----------------------------------------------------------------------------------------------

function entry(state) {
  return [
    h("h2", {}, t("do.sign-in")),
    state.problem && h("p", { class: "problem", role: "alert" }, t(state.problem)),
    h("p", { class: "hint" }, t(`sign-in.hint.${signIn}`)),
    signIn === "issuer"
      ? h("button", { class: "primary", "data-do": "sign-in" }, t("do.sign-in"))
      : h("form", { "data-do": "token" },
          h("label", { for: "token" }, t("sign-in.token")),
          h("textarea", { id: "token", name: "token", rows: 4, required: true, autocomplete: "off", spellcheck: "false" }),
          h("button", { class: "primary" }, t("do.sign-in"))),
    h("div", { class: "below" }, numbers()),
  ];
}

const below = () =>
  h("footer", {}, h("details", { "data-key": "help" }, h("summary", {}, t("calls.short")), numbers()), h("button", { class: "quiet", "data-do": "sign-out" }, t("do.sign-out")));

// --- lists ----------------------------------------------------------------------------------------------------

/** What is open: first what waits for somebody, then by the time that is left; drills and deadlines behind. */
export function sorted(state) {
  const rank = (one) => [!one.awaiting_acknowledgement, one.drill || Boolean(one.deadline), one.intervene_by ?? "", one.opened_at ?? ""];
  const open = [...state.incidents.values()].filter((one) => one.state !== "resolved");
  return open.sort((a, b) => {
    const [first, second] = [rank(a), rank(b)];
    const at = first.findIndex((part, index) => part !== second[index]);
    return at < 0 ? 0 : first[at] < second[at] ? -1 : 1;
  });
}

function tab(state, beside) {
  const heading = h("h2", { id: "list-heading", tabindex: "-1" }, t(`tab.${state.place.tab}`));
  if (state.place.tab === "open") return [heading, openOnes(state, beside)];
  const list = state.lists[state.place.tab];
  if (!list || list.status === "loading") return [heading, h("p", { class: "hint" }, t("live.connecting"))];
  if (list.status === "failed") return [heading, h("p", { class: "problem" }, t("error.unreached")), h("button", { "data-do": "reload" }, t("do.retry"))];
  return [heading, { calendar, drills, past }[state.place.tab](list.data, state)];
}

function openOnes(state, beside) {
  const open = sorted(state);
  if (open.length) return h("ul", { class: "cards" }, open.map((incident) => card(state, incident, state.wide && beside === incident)));
  return h("div", { class: "empty", "data-key": "empty" }, h("p", {}, t("empty")), h("p", { class: "hint" }, t("empty.more")));
}

function card(state, incident, chosen) {
  const id = incident.incident_id;
  const waits = incident.awaiting_acknowledgement;
  return h("li", { class: `card ${waits ? "waits" : ""} ${chosen ? "chosen" : ""}`, "data-key": id },
    h("a", { class: "into", href: `#incident=${id}`, "aria-current": chosen ? "true" : false },
      h("span", { class: "line" }, h("strong", {}, what(incident)), chip(incident)),
      h("span", { class: "standing" }, standing(incident)),
      h("span", { class: "hint" }, since(incident), incident.people.length > 0 && ` · ${listed(incident.people.map((one) => who(one, state.me)))}`),
      clocks(incident)),
    waits && state.mayAct && button(id, "acknowledge", "urgent"),
    trouble(id, ["acknowledge"]));
}

// --- calendar, drills, past -----------------------------------------------------------------------------------

const names = (people, state) => (people.length ? listed(people.map((one) => who(one, state.me))) : t("calendar.nobody"));

function calendar(data, state) {
  if (!data.roles.length) return h("p", { class: "hint" }, t("calendar.none"));
  const hours = (one) => h("span", { class: "hours" }, `${moment(one.start)} – ${moment(one.end)}`);
  return [
    data.gaps.length > 0 && h("div", { class: "warning" }, h("h3", {}, t("calendar.gaps")), h("ul", {}, data.gaps.map((gap) => h("li", {}, t(`role.${gap.role}`), " · ", hours(gap))))),
    h("ul", { class: "cards" }, data.roles.map((one) => h("li", { class: "card" }, h("div", { class: "into" },
      h("span", { class: "hint" }, t(`role.${one.role}`)),
      h("strong", { class: one.now.length ? "" : "problem" }, t("calendar.now", { people: names(one.now, state) })),
      one.next_at && h("span", {}, t("calendar.next", { people: names(one.next, state), at: moment(one.next_at) })))))),
    h("h3", {}, t("calendar.shifts")),
    h("ul", { class: "rows" },
      data.shifts.map((shift) => h("li", { class: shift.person === state.me ? "mine" : "" },
        hours(shift), h("span", {}, h("strong", {}, who(shift.person, state.me)), ` · ${t(`role.${shift.role}`)}`, shift.source === "override" && ` · ${t("calendar.override")}`))),
      data.hand_overs.filter((one) => one.note).map((one) => h("li", {}, h("span", {}, t("calendar.hand-over", { at: moment(one.at), from: who(one.from, state.me), to: who(one.to, state.me) })), h("span", {}, one.note)))),
  ];
}

function drills(data, state) {
  if (!data.items.length) return h("p", { class: "hint" }, t("drills.none"));
  return h("ul", { class: "rows" }, data.items.map((one) => h("li", { "data-key": one.incident_id },
    h("span", {}, h("strong", {}, moment(one.at)), one.acknowledged_by && ` · ${who(one.acknowledged_by, state.me)}`, one.channel && ` · ${over(one.channel)}`),
    h("span", { class: "figures" },
      h("span", {}, h("span", { class: "hint" }, t("drills.page")), " ", h("strong", {}, measured(one.page_seconds))),
      h("span", {}, h("span", { class: "hint" }, t("drills.acknowledged")), " ", h("strong", {}, one.acknowledged_seconds != null ? measured(one.acknowledged_seconds) : t(one.over ? "drills.unanswered" : "drills.running")))))));
}

function past(data, state) {
  if (!data.items.length) return h("p", { class: "hint" }, t("past.none"));
  return h("ul", { class: "cards" }, data.items.map((one) => h("li", { class: "card", "data-key": one.incident_id },
    h("a", { class: "into", href: `#incident=${one.incident_id}` },
      h("span", { class: "line" }, h("strong", {}, what(one)), chip(one)),
      h("span", { class: "hint" }, `${moment(one.opened_at)} – ${moment(one.resolved_at)}`, one.acknowledged_by && ` · ${who(one.acknowledged_by, state.me)}`)))));
}

function missing(state) {
  return h("section", { class: "detail" }, h("a", { class: "back", href: "#open" }, t("do.back")), h("p", { class: "hint", role: "status" }, t(state.fetching ? "live.connecting" : "error.404")));
}
