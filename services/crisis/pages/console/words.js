// What is said, in the chosen language, and by the server's clock and the company's time zone.

const ZONE = "Asia/Shanghai";
const NAME = "aftercare.language";
const HOUR = { hour: "2-digit", minute: "2-digit" };

let chosen;
let texts;
let lines;

const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hourCycle: "h23", ...options });
const formats = { hour: format(HOUR), day: format({ month: "2-digit", day: "2-digit" }) };

await choose(localStorage.getItem(NAME) === "en" ? "en" : "zh");

/** Speak this language from now on. */
export async function choose(language) {
  ({ texts, calls: lines } = await import(`./${language}.js`));
  chosen = language;
  localStorage.setItem(NAME, language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

/** Whom to call: `{ number, name, urgent }`. */
export const calls = () => lines;
export const otherLanguage = () => (chosen === "zh" ? "en" : "zh");

/** The text of a key; a code that has none is shown as it is. */
export function t(key, values = {}) {
  const pattern = texts[key] ?? key.slice(key.indexOf(".") + 1);
  return pattern.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "–");
}

export const has = (key) => key in texts;
export const listed = (items) => items.join(chosen === "zh" ? "、" : ", ");

// --- time -----------------------------------------------------------------------------------------------------

let anchor = { server: Date.now(), local: performance.now() };

/** The server has said what time it is. The way here only ever takes time: the later word is the better one. */
export function setTime(written, afresh = false) {
  const server = Date.parse(written);
  if (afresh || server > now()) anchor = { server, local: performance.now() };
}

/** Now, by the server's clock, in milliseconds. The phone's own clock may be wrong. */
export const now = () => anchor.server + performance.now() - anchor.local;

export const hour = (when) => formats.hour.format(new Date(when));

/** `11:25` today, `05-04 11:25` on another day. */
export function moment(when) {
  const day = (instant) => formats.day.format(new Date(instant)).split("/").reverse().join("-");
  return day(when) === day(now()) ? hour(when) : `${day(when)} ${hour(when)}`;
}

/** `4:05`, or `2:04:05` with hours. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export function measured(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(seconds < 10 ? 1 : 0)} s` : span(seconds * 1000);
}

// --- people and incidents -------------------------------------------------------------------------------------

/** Somebody, by id; what stands for an address is too long to read. */
export function who(id, me) {
  if (!id) return t("by.nobody");
  return id === me ? t("by.me") : /^[0-9a-f]{32}$/.test(id) ? `${id.slice(0, 6)}…` : id;
}

export function what(incident) {
  if (incident.deadline) return t("what.deadline", incident.deadline);
  if (incident.drill) return t("what.drill");
  if (incident.client_id === "erased") return t("what.erased");
  return incident.client_id === "unknown" ? t("what.unreadable") : t("what.crisis", { client: incident.client_id });
}

export function standing(incident) {
  if (incident.awaiting_acknowledgement && incident.acknowledged_at) return t("state.again");
  return t(`state.${incident.state}`);
}

/** A channel in plain words, without its provider: `sms-aliyun` is a text. */
export const over = (channel) => t(`channel.${channel.replace(/^(sms|voice)-.*/, "$1")}`);

/** A line of a timeline in plain words. */
export function told(line, me) {
  const step = line.step && t(`step.${line.step.replace(/^(referred|responded)-/, "")}`);
  const noted = { resolved: "outcome", repeated: "note" }[line.what];
  const values = {
    by: who(line.by, me), step, reached: line.reached, origin: line.origin,
    channel: line.channel && over(line.channel),
    level: line.level && t(`level.${line.level}`),
    source: line.source && t(`source.${line.source}`),
    note: noted && line.note ? t(`${noted}.${line.note}`) : undefined,
  };
  const special =
    (line.what === "flagged" && line.origin && "unreadable") ||
    (line.what === "resolved" && line.step) ||
    (line.what === "page-failed" && line.stage && "later") ||
    (line.what === "paged" && line.step === "worse" && "worse");
  const key = special === "worse" ? "line.worse" : special ? `line.${line.what}.${special}` : `line.${line.what}`;
  return t(key, values);
}
