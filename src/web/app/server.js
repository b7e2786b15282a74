// Calls of the device protocol (the page "device-protocol" of the manual), each signed by the device's key.

import { signed } from "./sign.js";

/**
 * @typedef {import("./sign.js").Key} Key
 * @typedef {{ serial: string, kind: string, state: string, expires: string | null }} Token
 * @typedef {{ code: string, serial: string, expires: string, expires_in: number }} Code
 * @typedef {{ serial: string, kind: string, way: string, to: string | null, expires: string | null }} OpenCode
 * @typedef {{ device: string, user: string, name: string, state: string, created: string,
 *   last_seen: string | null, this?: boolean }} ListedDevice
 */

/** What an answer that is no success says. */
export class Problem extends Error {
  /**
   * @param {string} word the last part of `type`; `network` where there was no answer
   * @param {string} detail
   */
  constructor(word, detail) {
    super(detail || word);
    this.word = word;
  }
}

/** How far the server's clock is ahead of this one, in milliseconds. */
let ahead = Number(localStorage.getItem("ahead")) || 0;

/** The server's time, as far as it is known. */
export function now() {
  return Date.now() + ahead;
}

/**
 * @param {Response} answer
 * @returns whether the clock was wrong by enough to explain a refusal
 */
function learned(answer) {
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (Number.isNaN(date)) {
    return false;
  }
  const difference = date - Date.now();
  const astray = Math.abs(difference - ahead) > 30_000;
  // The field has whole seconds, and the answer took its time: small differences are no news.
  if (Math.abs(difference - ahead) > 3000) {
    ahead = Math.abs(difference) > 3000 ? difference : 0;
    localStorage.setItem("ahead", String(ahead));
  }
  return astray;
}

/**
 * @param {Key} key
 * @param {string} method
 * @param {string} path
 * @param {unknown} [content]
 * @param {RequestCredentials} [credentials] whether the answer may set a cookie
 * @returns {Promise<any>}
 */
export async function call(key, method, path, content, credentials = "omit") {
  const body = content === undefined ? "" : JSON.stringify(content);
  for (let again = false; ; again = true) {
    // A little in the past: what seems to come from the future costs the server a record for every poll.
    const created = Math.floor(now() / 1000) - 2;
    const headers = await signed(key, { method, path, body, created });
    const signal = AbortSignal.timeout(20_000);
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers,
        signal,
        ...(body === "" ? {} : { body }),
        cache: "no-store",
        credentials,
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
    } catch {
      throw new Problem("network", "");
    }
    const astray = learned(answer);
    if (answer.status === 401 && astray && !again) {
      continue;
    }
    if (answer.status === 204) {
      return undefined;
    }
    const text = await answer.json().catch(() => ({}));
    if (answer.ok) {
      return text;
    }
    const word = String(text.type ?? "").split(":").pop() || `http-${answer.status}`;
    throw new Problem(word, String(text.detail ?? ""));
  }
}
