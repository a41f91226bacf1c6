// The console: what is heard becomes the state, the state is shown, and a tap becomes a request.
import { act, call, drop, hurry } from "./acting.js";
import * as alarm from "./alarm.js";
import { sheet } from "./details.js";
import { h, show } from "./dom.js";
import * as session from "./session.js";
import * as stream from "./stream.js";
import { page, sorted } from "./views.js";
import * as words from "./words.js";
import { t } from "./words.js";

const OFFLINE_AFTER = 3_000;
const LISTS = {
  calendar: "/v1/on-call?days=14",
  drills: "/v1/drills",
  past: "/v1/incidents?state=resolved&limit=30",
};

const [root, dialog, urgent, notice] = ["page", "sheet", "urgent", "notice"].map((id) => document.getElementById(id));
const wide = matchMedia("(min-width: 62rem)");

const state = {
  signedIn: false,
  problem: null, // why one must sign in again
  place: { tab: "open", incident: null },
  wide: wide.matches,
  link: "connecting", // connecting | live | offline
  lastSeen: null,
  whole: true,
  stored: true,
  me: null,
  mayAct: false,
  incidents: new Map(),
  overtaken: new Map(), // what an answer has told us before the stream did: id -> { view, lines }
  records: new Map(), // whole timelines, for those who asked
  lists: {},
  fetched: null, // an incident that is not in the stream
  fetching: false,
};

const render = () => {
  show(root, h("div", {}, page(state)));
  const waiting = sorted(state).filter((incident) => incident.awaiting_acknowledgement).length;
  document.title = (waiting ? `(${waiting}) ` : "") + t("title");
};

// --- hearing --------------------------------------------------------------------------------------------------

let offline;

const heard = {
  up() {
    clearTimeout(offline);
    offline = null;
    if (state.link !== "live") hurry();
    state.link = "live";
  },
  away() {
    if (state.link === "live") state.link = "connecting";
    offline ??= setTimeout(() => ((state.link = "offline"), render()), OFFLINE_AFTER);
    render();
  },
  event(name, data) {
    if (name === "incident") take(data);
    else if (name === "gone") state.incidents.delete(data.incident_id);
    else {
      words.setTime(data.now, name === "snapshot");
      Object.assign(state, { whole: data.whole, stored: data.stored, lastSeen: words.now() });
      if (name === "snapshot") begin(data);
    }
    render();
  },
};

function begin({ reader, incidents }) {
  Object.assign(state, { me: reader.id, mayAct: reader.may_act });
  const known = state.incidents;
  state.incidents = new Map();
  incidents.forEach((incident) => take(incident, known.get(incident.incident_id)));
}

function take(incident, before = state.incidents.get(incident.incident_id)) {
  const id = incident.incident_id;
  const early = state.overtaken.get(id);
  if (early && incident.lines > early.lines) state.overtaken.delete(id);
  state.incidents.set(id, state.overtaken.has(id) ? { ...incident, ...early.view } : incident);
  if (state.records.has(id)) fetchRecord(id);
  announce(incident, before);
}

function announce(incident, before) {
  if (!incident.awaiting_acknowledgement || before?.awaiting_acknowledgement) return;
  const about = { what: words.what(incident), level: t(`level.${incident.level}`) };
  urgent.textContent = t(before ? "announce.again" : "announce.new", about);
  alarm.ring();
}

async function listen() {
  state.signedIn = true;
  render();
  for (;;) {
    const status = await stream.follow(heard);
    if (status === null) return;
    if (status === 401 && (await session.renew())) continue;
    return leave(status === 401 ? "sign-in.expired" : "error.403");
  }
}

function leave(problem) {
  stream.stop();
  clearTimeout(offline);
  offline = null;
  session.keep(null);
  Object.assign(state, { signedIn: false, problem, incidents: new Map(), link: "connecting", lists: {}, fetched: null });
  dialog.close();
  render();
}

// --- reading --------------------------------------------------------------------------------------------------

async function read(path) {
  const answer = await call(path).catch(() => null);
  return { ok: Boolean(answer?.ok), status: answer?.status, data: answer?.ok ? await answer.json() : null };
}

async function fetchList(tab) {
  state.lists[tab] ??= { status: "loading" };
  const { ok, data } = await read(LISTS[tab]);
  if (ok) state.lists[tab] = { status: "ready", data };
  else if (state.lists[tab].status !== "ready") state.lists[tab] = { status: "failed" };
  render();
}

async function fetchIncident(id) {
  state.fetching = true;
  const { data } = await read(`/v1/incidents/${encodeURIComponent(id)}`);
  state.fetching = false;
  state.fetched = data && { people: [], assessed: {}, referred: {}, responded: {}, ...data };
  if (data) state.records.set(id, data.timeline);
  render();
}

async function fetchRecord(id) {
  const { data } = await read(`/v1/incidents/${encodeURIComponent(id)}`);
  if (data) state.records.set(id, data.timeline);
  render();
}

// --- doing ----------------------------------------------------------------------------------------------------

async function perform(id, verb, body) {
  const lines = state.incidents.get(id)?.lines ?? 0;
  const view = await act(id, verb, body, render);
  if (!view) return;
  notice.textContent = t(`done.${verb}`);
  // Another replica may have answered: what it said holds until the stream has caught up.
  const known = state.incidents.get(id);
  if (known && known.lines <= lines) {
    state.overtaken.set(id, { view, lines });
    state.incidents.set(id, { ...known, ...view });
  }
  if (state.fetched?.incident_id === id) fetchIncident(id);
  render();
}

const chosen = (form, name) => new FormData(form).getAll(name);

const taps = {
  act: ({ id, verb }) => perform(id, verb),
  respond: ({ id, agency }) => perform(id, "responses", { agency }),
  sheet: ({ id, kind }) => (show(dialog, h("div", {}, sheet({ id, kind }))), dialog.showModal()),
  close: () => dialog.close(),
  drop: ({ name }) => (drop(name), render()),
  whole: ({ id }) => fetchRecord(id),
  reload: () => fetchList(state.place.tab),
  alarm: () => (alarm.toggle(), render()),
  language: () => words.choose(words.otherLanguage()).then(render),
  skip: () => focusOn("#list-heading, #detail-heading, h2"),
  "sign-in": () => session.begin().catch(() => ((state.problem = "sign-in.failed"), render())),
  "sign-out": () => leave(null),
};

const forms = {
  token(form) {
    session.keep({ token: chosen(form, "token")[0].trim() });
    state.problem = null;
    listen();
  },
  async assess(form) {
    for (const step of chosen(form, "step")) await perform(form.dataset.id, "assessments", { step });
  },
  refer: (form) => chosen(form, "agency").forEach((agency) => perform(form.dataset.id, "referrals", { agency })),
  resolve: (form) => (dialog.close(), perform(form.dataset.id, "resolve", { outcome: chosen(form, "outcome")[0] })),
  reopen: (form) => (dialog.close(), perform(form.dataset.id, "reopen")),
};

document.addEventListener("click", (event) => {
  const tapped = event.target.closest("[data-do]");
  const does = tapped && tapped.tagName !== "FORM" && taps[tapped.dataset.do];
  if (!does) return;
  event.preventDefault();
  if (tapped.getAttribute("aria-disabled") !== "true") does(tapped.dataset);
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const busy = event.submitter?.getAttribute("aria-disabled") === "true";
  if (!busy) forms[event.target.dataset.do]?.(event.target);
});

// --- going from place to place --------------------------------------------------------------------------------

function focusOn(selector) {
  document.querySelector(selector)?.focus();
}

function go(focus = true) {
  const place = new URLSearchParams(location.hash.slice(1));
  const before = state.place;
  const incident = place.get("incident");
  const tab = ["calendar", "drills", "past"].find((one) => place.has(one)) ?? (incident && state.wide ? before.tab : "open");
  state.place = { tab, incident };
  state.fetched = state.fetched?.incident_id === incident ? state.fetched : null;
  if (!state.signedIn) return;
  if (incident && !state.incidents.has(incident)) fetchIncident(incident);
  if (tab !== "open" && tab !== before.tab) fetchList(tab);
  render();
  scrollTo(0, 0);
  if (!focus) return;
  if (incident) focusOn("#detail-heading");
  else focusOn(before.incident && tab === "open" ? `[data-key="${CSS.escape(before.incident)}"] a` : "#list-heading");
}

addEventListener("hashchange", () => go());
addEventListener("online", stream.nudge);
document.addEventListener("visibilitychange", () => document.hidden || (stream.nudge(), render()));
wide.addEventListener("change", () => ((state.wide = wide.matches), render()));
setInterval(() => document.hidden || (state.signedIn && render()), 1000);

const arrived = await session.arrive();
if (!arrived) state.problem = "sign-in.failed";
if (session.token()) listen();
go(false);
render();
