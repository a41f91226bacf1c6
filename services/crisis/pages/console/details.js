// One incident: its clocks, what has been done and is still to do, everything that happened; and the next thing to do
// at the bottom, under the thumb.
import { h } from "./dom.js";
import { button, chip, clocks, since, trouble } from "./parts.js";
import { hour, listed, moment, standing, t, told, what, who } from "./words.js";

export const STEPS = ["first-assessment", "in-depth-interview", "risk-assessment"];
export const AGENCIES = ["hospital", "social-agency"];
export const OUTCOMES = ["safe", "with-family", "in-hospital", "with-agency", "no-danger", "other"];
const VERBS = ["acknowledge", "join", "intervene", "assessments", "referrals", "responses", "resolve", "reopen"];

export function detail(state, incident) {
  const crisis = !incident.drill && !incident.deadline;
  const open = incident.state !== "resolved";
  return h("section", { class: "detail", "data-key": `detail-${incident.incident_id}`, "aria-labelledby": "detail-heading" },
    !state.wide && h("a", { class: "back", href: "#open" }, h("span", { "aria-hidden": "true" }, "‹ "), t("do.back")),
    h("div", { class: "line" }, h("h2", { id: "detail-heading", tabindex: "-1" }, what(incident)), chip(incident)),
    h("p", { class: `standing ${incident.awaiting_acknowledgement ? "waits" : ""}` }, standing(incident)),
    h("p", { class: "hint" }, since(incident), incident.people.length > 0 && ` · ${t("people", { people: listed(incident.people.map((one) => who(one, state.me))) })}`),
    clocks(incident),
    incident.record_url && h("a", { class: "button", href: incident.record_url, target: "_blank", rel: "noopener noreferrer" }, t("do.record")),
    crisis && open && incident.acknowledged_at && state.mayAct && [assessment(incident), referral(incident)],
    timeline(state, incident),
    state.mayAct && next(state, incident, crisis, open));
}

const done = (at) => `✓ ${hour(at)}`;

// --- A29 and A31 ----------------------------------------------------------------------------------------------

function assessment(incident) {
  const id = incident.incident_id;
  const left = STEPS.filter((step) => !incident.assessed[step]);
  return h("form", { class: "part", "data-do": "assess", "data-id": id, "data-key": `assess-${id}` },
    h("fieldset", {},
      h("legend", {}, t("assessment.heading"), " ", h("abbr", {}, "A29")),
      left.length > 0 && h("p", { class: "hint" }, t("assessment.hint")),
      STEPS.map((step) => incident.assessed[step]
        ? h("p", { class: "option", "data-key": `did-${step}` }, h("span", {}, t(`step.${step}`)), h("span", { class: "good" }, done(incident.assessed[step])))
        : h("label", { class: "option", "data-key": step }, h("input", { type: "checkbox", name: "step", value: step }), h("span", {}, t(`step.${step}`))))),
    left.length > 0 && button(id, "assessments", "", true));
}

function referral(incident) {
  const id = incident.incident_id;
  const free = AGENCIES.filter((agency) => !incident.referred[agency]);
  return h("form", { class: "part", "data-do": "refer", "data-id": id, "data-key": `refer-${id}` },
    h("fieldset", {},
      h("legend", {}, t("referral.heading"), " ", h("abbr", {}, "A31")),
      AGENCIES.filter((agency) => incident.referred[agency]).map((agency) =>
        h("p", { class: "option", "data-key": `did-${agency}` },
          h("span", {}, t(`agency.${agency}`), " ", h("span", { class: "hint" }, t("referral.since", { time: moment(incident.referred[agency]) }))),
          incident.responded[agency]
            ? h("span", { class: "good" }, `${t("referral.answered")} ${done(incident.responded[agency])}`)
            : h("button", { type: "button", "data-do": "respond", "data-id": id, "data-agency": agency, "aria-label": `${t(`agency.${agency}`)}：${t("do.respond")}` }, t("do.respond")))),
      free.length > 0 && h("p", { class: "hint" }, t("referral.to")),
      free.map((agency) => h("label", { class: "option", "data-key": agency },
        h("input", { type: "radio", name: "agency", value: agency, required: true }), h("span", {}, t(`agency.${agency}`))))),
    free.length > 0 && button(id, "referrals", "", true));
}

// --- everything that happened ---------------------------------------------------------------------------------

function timeline(state, incident) {
  const whole = state.records.get(incident.incident_id);
  const lines = [...(whole ?? incident.timeline)].reverse();
  return h("section", { class: "part", "aria-labelledby": "timeline-heading" },
    h("h3", { id: "timeline-heading" }, t("timeline.heading"), " ", h("span", { class: "hint" }, t("timeline.newest"))),
    h("ol", { class: "timeline", reversed: true }, lines.map((line) =>
      h("li", { class: line.what, "data-key": `${line.at} ${line.what} ${line.step ?? ""} ${line.by ?? ""} ${line.note ?? ""}` },
        h("time", { datetime: line.at }, moment(line.at)),
        h("span", {}, told(line, state.me), line.signals.length > 0 && h("span", { class: "hint" }, ` ${listed(line.signals.map((one) => t(`signal.${one}`)))}`))))),
    !whole && h("button", { class: "quiet", "data-do": "whole", "data-id": incident.incident_id }, t("do.whole")));
}

// --- what to do next ------------------------------------------------------------------------------------------

function next(state, incident, crisis, open) {
  const id = incident.incident_id;
  const mine = incident.people.includes(state.me);
  const buttons = [];
  if (!open) buttons.push(crisis && sheetButton(id, "reopen", ""));
  else if (incident.awaiting_acknowledgement) buttons.push(button(id, "acknowledge", "urgent"));
  else if (crisis) {
    if (!mine) buttons.push(button(id, "join", ""));
    if (incident.state === "acknowledged") buttons.push(sheetButton(id, "resolve", ""), button(id, "intervene", "primary"));
    else buttons.push(sheetButton(id, "resolve", "primary"));
  }
  return h("div", { class: "next", "data-key": "next" },
    trouble(id, VERBS), h("div", { class: "buttons" }, buttons));
}

const sheetButton = (id, kind, style) =>
  h("button", { class: style, "data-do": "sheet", "data-kind": kind, "data-id": id, "data-key": `do-${kind}`, "aria-haspopup": "dialog" }, t(`do.${kind}`));

/** What is asked before an incident is ended or opened again. */
export function sheet({ kind, id }) {
  const asks = kind === "resolve";
  return h("form", { method: "dialog", "data-do": kind, "data-id": id },
    h("h2", { id: "sheet-heading" }, t(asks ? "resolve.heading" : "do.reopen")),
    asks
      ? h("div", {}, OUTCOMES.map((outcome) => h("label", { class: "option" }, h("input", { type: "radio", name: "outcome", value: outcome, required: true }), h("span", {}, t(`outcome.${outcome}`)))))
      : h("p", {}, t("line.reopened", { by: t("by.me") })),
    h("div", { class: "buttons" },
      h("button", { type: "button", "data-do": "close" }, t("do.cancel")),
      h("button", { class: "primary", type: "submit" }, t(`do.${kind}`))));
}
