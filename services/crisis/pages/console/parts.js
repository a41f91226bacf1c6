// What lists and details both show of an incident: its level, its clocks, its buttons.
import { name, underway } from "./acting.js";
import { h } from "./dom.js";
import { has, hour, moment, now, span, t } from "./words.js";

const SOON = 5 * 60_000;

export const since = (incident) => t("since", { time: moment(incident.since ?? incident.opened_at) });

export function chip(incident) {
  return incident.deadline ? null : h("span", { class: `chip ${incident.level}` }, h("span", { class: "unseen" }, `${t("level.label")} `), t(`level.${incident.level}`));
}

/** The clocks of an incident: that of intervention (A30), that of the head (F59), and the next page. */
export function clocks(incident) {
  if (incident.state === "resolved") return null;
  return h("span", { class: "clocks" },
    incident.intervene_by && clock("intervene", "A30", incident.since, incident.intervene_by, incident.intervening_at),
    incident.head_by && clock("head", "F59", incident.since, incident.head_by, incident.head_told_at),
    incident.awaiting_acknowledgement && incident.next_at && next(incident.next_at));
}

function clock(key, clause, from, until, done) {
  const left = Date.parse(until) - now();
  const whole = Date.parse(until) - Date.parse(from);
  const mood = done ? "done" : left < 0 ? "over" : left < SOON ? "soon" : "calm";
  const said = done ? t("clock.done", { time: hour(done) }) : t(left < 0 ? "clock.over" : "clock.left", { time: span(Math.abs(left)) });
  return h("span", { class: `clock ${mood}`, "data-clock": key },
    h("span", { class: "name" }, t(`clock.${key}`), " ", h("abbr", {}, clause)),
    h("span", { class: "time" }, said),
    !done && h("progress", { max: Math.round(whole / 1000), value: Math.max(0, Math.round((whole - left) / 1000)), "aria-label": t(`clock.${key}`) }));
}

function next(at) {
  const left = Date.parse(at) - now();
  return h("span", { class: "next" }, left > 0 ? t("clock.next", { time: span(left) }) : t("clock.now"));
}

// --- buttons --------------------------------------------------------------------------------------------------

const LABELS = { acknowledge: "button.acknowledge", assessments: "do.assess", referrals: "do.refer" };

/** What does something about an incident: at once, or by sending the form that it stands in. */
export function button(id, verb, style, submits = false) {
  const busy = ["send", "retry"].includes(underway.get(name(id, verb))?.state);
  const does = submits ? { type: "submit" } : { type: "button", "data-do": "act", "data-verb": verb, "data-id": id };
  return h("button", { ...does, class: style, "data-key": `do-${verb}`, "aria-disabled": busy ? "true" : false },
    busy ? t("doing.send") : t(LABELS[verb] ?? `do.${verb}`));
}

/** What did not arrive yet, or was refused. */
export function trouble(id, verbs) {
  return verbs.map((verb) => {
    const work = underway.get(name(id, verb));
    if (!work || work.state === "send") return null;
    const again = work.state === "retry";
    return h("p", { class: "problem", role: "status", "data-key": `trouble-${verb}` }, again ? t("doing.retry") : refusal(work.error),
      h("button", { class: "quiet", "data-do": "drop", "data-name": name(id, verb) }, t(again ? "do.drop" : "do.cancel")));
  });
}

const refusal = (status) => (has(`error.${status}`) ? t(`error.${status}`) : t("error.other", { status }));
