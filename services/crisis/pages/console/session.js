// Who is signed in. The token lives in this tab alone (sessionStorage), and goes into headers only, never into an
// address: the code that the issuer sends back is worth nothing without the verifier, which does not leave this tab.

const root = document.body.dataset.root;
export const signIn = document.body.dataset.signIn; // issuer | token | paste
const NAME = "aftercare.session";
const WAY = "aftercare.signing-in";

let session = read(NAME);
let renewal;
let renewing = null; // one at a time: a refresh token works once

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

export const token = () => session?.token;
export const headers = () => ({ Authorization: `Bearer ${session?.token}` });

export function keep(next) {
  session = next;
  if (!next) return sessionStorage.removeItem(NAME);
  const until = next.expires_in ? Date.now() + next.expires_in * 1000 : null;
  session = { token: next.token, refresh: next.refresh_token ?? null, until: next.until ?? until };
  sessionStorage.setItem(NAME, JSON.stringify(session));
  plan();
}

/** Take what the address has brought: a token in development, or the issuer's code. False: that did not succeed. */
export async function arrive() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const query = new URLSearchParams(location.search);
  if (fragment.has("token") && signIn === "token") {
    keep({ token: fragment.get("token") });
    fragment.delete("token");
    clean(`#${fragment}`);
  }
  if (!query.has("state")) return plan() ?? true;
  const way = read(WAY);
  sessionStorage.removeItem(WAY);
  clean(way?.hash ?? "");
  if (!way || way.state !== query.get("state") || !query.has("code")) return false;
  return exchange({ code: query.get("code"), verifier: way.verifier });
}

const clean = (hash) => history.replaceState(null, "", `${root}/console${hash === "#" ? "" : hash}`);

/** Go to the issuer. Rejects if it cannot be reached. */
export async function begin() {
  const way = { verifier: random(), state: random(), hash: location.hash };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(way.verifier));
  const asked = new URLSearchParams({ challenge: base64(new Uint8Array(digest)), state: way.state });
  const answer = await fetch(`${root}/v1/console/sign-in?${asked}`);
  if (!answer.ok) throw new Error("no issuer");
  sessionStorage.setItem(WAY, JSON.stringify(way));
  location.assign((await answer.json()).address);
}

async function exchange(body) {
  try {
    const sent = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`${root}/v1/console/token`, sent);
    if (answer.ok) keep(await answer.json());
    return answer.ok;
  } catch {
    return false;
  }
}

/** A new token for the old one, before it expires or once it was refused. False: sign in again. */
export async function renew() {
  if (!session?.refresh) return false;
  renewing ??= exchange({ refresh_token: session.refresh }).finally(() => (renewing = null));
  return renewing;
}

function plan() {
  clearTimeout(renewal);
  if (!session?.refresh || !session.until) return;
  renewal = setTimeout(renew, Math.max(5_000, (session.until - Date.now()) * 0.8));
}

const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));
const base64 = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
