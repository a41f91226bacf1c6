// What somebody does about an incident is sent until it has arrived: each attempt under the same key, so that a lost
// answer does not make it happen twice.
import { headers, renew } from "./session.js";

const root = document.body.dataset.root;
const PATIENCE = 12_000;

/** What is under way: by incident and verb, `{ state: "send" | "retry" | "failed", error, stop }`. */
export const underway = new Map();
export const name = (id, verb) => `${id} ${verb}`;

/** Call our own API. Throws what `fetch` does; an answer that is no success is returned. */
export async function call(path, options = {}) {
  const send = () => {
    const own = { headers: { ...options.headers, ...headers() }, signal: AbortSignal.timeout(PATIENCE) };
    return fetch(root + path, { ...options, ...own, cache: "no-store" });
  };
  const answer = await send();
  return answer.status === 401 && (await renew()) ? send() : answer;
}

/** Do something until it is done or refused. Resolves to the incident as it then is, or null. */
export async function act(id, verb, body, changed) {
  const key = name(id, verb);
  if (["send", "retry"].includes(underway.get(key)?.state)) return null;
  const work = { state: "send", body, stopped: false, wake: () => {} };
  underway.set(key, work);
  changed();
  const idempotent = { "Idempotency-Key": random() };
  const content = body ? { "Content-Type": "application/json" } : {};
  const request = { method: "POST", headers: { ...idempotent, ...content }, body: body && JSON.stringify(body) };
  for (let failures = 0; !work.stopped; failures += 1) {
    const answer = await call(`/v1/incidents/${encodeURIComponent(id)}/${verb}`, request).catch(() => null);
    if (answer?.ok) {
      underway.delete(key);
      return answer.json();
    }
    if (answer && answer.status < 500 && answer.status !== 429 && answer.status !== 408) {
      Object.assign(work, { state: "failed", error: answer.status });
      changed();
      return null;
    }
    work.state = "retry";
    changed();
    await new Promise((resolve) => {
      work.wake = resolve;
      setTimeout(resolve, Math.min(8_000, 700 * 2 ** failures));
    });
  }
  underway.delete(key);
  changed();
  return null;
}

/** The line is back: try again at once. */
export const hurry = () => underway.forEach((work) => work.wake?.());

export function drop(key) {
  const work = underway.get(key);
  if (!work) return;
  work.stopped = true;
  work.wake();
  underway.delete(key);
}

const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
