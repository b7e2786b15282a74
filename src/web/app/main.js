// The authenticator of the browser: three screens over what this telephone keeps (store.js) and what the server
// says of it (server.js).

import { call, now, Problem } from "./server.js";
import { newKey } from "./sign.js";
import { forget, keep, kept } from "./store.js";
import { clock, day, language, named, speak, t } from "./text.js";
import { codeAt, taken } from "./totp.js";

/**
 * @typedef {import("./store.js").Device} Device
 * @typedef {import("./server.js").Code} Code
 * @typedef {import("./server.js").Token} Token
 * @typedef {"enrol" | "code" | "requests" | "settings"} Screen
 */

/** @type {Device | undefined} */
let device;
/** @type {Screen} */
let screen = "code";
/** @type {{ code: string, from: number, until: number } | null} */
let shown = null;
/** @type {{ code: string, until: number } | null} */
let transfer = null;
let offline = false;

/**
 * @template {HTMLElement} E
 * @param {string} id
 * @param {new () => E} kind
 * @returns {E}
 */
function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new Error(`the page has no ${id}`);
  }
  return found;
}

/** @param {string} id */
const at = (id) => part(id, HTMLElement);
/** @param {string} id */
const field = (id) => part(id, HTMLInputElement);
/** @param {string} id */
const button = (id) => part(id, HTMLButtonElement);

/** @param {string} text */
function say(text) {
  at("message").textContent = text;
  at("message").hidden = text === "";
}

/** @param {unknown} error */
function why(error) {
  if (!(error instanceof Problem)) {
    return t("error.other", { why: String(error) });
  }
  switch (error.word) {
    case "network":
      return t("error.network");
    case "not-taken":
      return t("error.not-taken");
    case "unavailable":
      return t("error.unavailable");
    case "conflict":
      return t("error.conflict", { why: error.message });
    default:
      return t("error.other", { why: error.message });
  }
}

/**
 * Carries out what a button is for; it cannot be pressed meanwhile.
 *
 * @param {HTMLButtonElement} pressed
 * @param {() => Promise<void>} act
 */
async function acting(pressed, act) {
  pressed.disabled = true;
  say("");
  try {
    await act();
  } catch (error) {
    say(why(error));
  } finally {
    pressed.disabled = false;
  }
}

/** @param {string} text */
function asked(text) {
  at("ask-text").textContent = text;
  const dialog = part("ask", HTMLDialogElement);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** @param {string} code */
const spaced = (code) => code.replace(/(?=(?:.{3})+$)/g, " ").trim();

/**
 * Shows a code, read aloud digit by digit.
 *
 * @param {string} id
 * @param {string} code
 */
function digits(id, code) {
  const text = code.length === 12 ? code.replace(/(.{4})/g, "$1 ").trim() : spaced(code);
  if (at(id).textContent !== text) {
    at(id).textContent = text;
    at(id).setAttribute("aria-label", [...code].join(" "));
  }
}

const AROUND = 2 * Math.PI * 54;

/**
 * @param {string} id
 * @param {number} part what is left, 0 to 1
 */
function ring(id, part) {
  const circle = document.getElementById(id);
  circle?.setAttribute("stroke-dasharray", String(AROUND));
  circle?.setAttribute("stroke-dashoffset", String(AROUND * (1 - Math.max(0, Math.min(1, part)))));
}

// Screens

/** @param {Screen} wanted */
function show(wanted) {
  screen = wanted;
  for (const name of ["enrol", "code", "requests", "settings"]) {
    at(name).hidden = name !== wanted;
  }
  at("tabs").hidden = device === undefined;
  at("who").textContent = device?.user ?? "";
  for (const tab of document.querySelectorAll("#tabs button")) {
    if (tab instanceof HTMLElement && tab.dataset.screen === wanted) {
      tab.setAttribute("aria-current", "page");
    } else {
      tab.removeAttribute("aria-current");
    }
  }
  drawCode();
  drawSettings();
  if (wanted === "requests" || wanted === "settings") {
    void fresh();
  }
}

function speaking() {
  document.documentElement.lang = language;
  document.title = t("app");
  for (const place of document.querySelectorAll("[data-text]")) {
    if (place instanceof HTMLElement && place.dataset.text) {
      place.textContent = t(/** @type {import("./text.js").Key} */ (place.dataset.text));
    }
  }
  part("language", HTMLSelectElement).value = language;
}

// Enrolment

function suggestedName() {
  const agent = navigator.userAgent;
  const known = ["iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux"];
  return known.find((name) => agent.includes(name)) ?? "Browser";
}

/** What a link brought behind #: it is in no log and, from now on, not in the history. */
function fromLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const [user, code] = [link.get("user"), link.get("code")];
  if (location.hash !== "") {
    history.replaceState(null, "", location.pathname);
  }
  return user && code ? { user, code } : null;
}

/** @param {{ user: string, code: string } | null} link */
async function enrolling(link) {
  field("enrol-name").value ||= suggestedName();
  const standalone = matchMedia("(display-mode: standalone)").matches;
  at("enrol-installed").hidden = !/iPhone|iPad/.test(navigator.userAgent) || standalone;
  if (link) {
    field("enrol-user").value = link.user;
    field("enrol-code").value = link.code;
    at("enrol-intro").dataset.text = "enrol.linked";
    at("enrol-intro").textContent = t("enrol.linked");
  }
  show("enrol");
}

async function enrol() {
  const [user, name] = [field("enrol-user").value.trim(), field("enrol-name").value.trim()];
  const key = await newKey();
  try {
    // Before it is sent: where the answer is lost, the key is not.
    await keep("candidate", { key, user, name });
    await navigator.storage?.persist?.();
  } catch (error) {
    say(t("error.storage", { why: String(error) }));
    return;
  }
  const { algorithm, publicKey } = key;
  const body = { user, code: field("enrol-code").value, name, algorithm, public_key: publicKey };
  let made;
  try {
    made = await call(key, "POST", "/v1/device/enroll", body);
  } catch (error) {
    if (!(error instanceof Problem)) {
      throw error;
    }
    if (error.word !== "network" && error.word !== "unavailable") {
      await forget("candidate");
    }
    const texts = { refused: t("enrol.refused"), "too-many": t("enrol.wait") };
    const text = texts[/** @type {keyof typeof texts} */ (error.word)];
    say(text ?? (error.word === "conflict" ? t("enrol.conflict", { why: error.message }) : why(error)));
    return;
  }
  const { serial, state, expires } = made.token;
  await adopted({ key, user: made.user, name: made.name, device: made.device, serial, state, expires, totp: null });
}

/** @param {Device} enrolled */
async function adopted(enrolled) {
  device = enrolled;
  await keep("device", enrolled);
  await forget("candidate");
  field("enrol-code").value = "";
  speaking();
  show("code");
}

/** An enrolment whose answer was lost: whether the server knows the key. */
async function recovered() {
  const candidate = await kept("candidate");
  if (!candidate) {
    return false;
  }
  const { key } = candidate;
  try {
    const all = await call(key, "GET", "/v1/device");
    const own = all.devices.find((/** @type {import("./server.js").ListedDevice} */ one) => one.this);
    const waiting = await call(key, "GET", "/v1/device/pending");
    const token = serverToken(waiting.tokens);
    const { user, name } = own;
    const { serial, state, expires } = token ?? { serial: "", state: "revoked", expires: null };
    await adopted({ key, user, name, device: own.device, serial, state, expires, totp: null });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.word === "not-taken") {
      await forget("candidate");
    }
    return false;
  }
}

/** @param {Token[]} tokens */
function serverToken(tokens) {
  const all = tokens.filter((token) => token.kind === "server");
  return all.find((token) => token.state === "active") ?? all[0];
}

// Codes

function drawCode() {
  if (!device) {
    return;
  }
  const { state, totp } = device;
  const first = state === "pending";
  const usable = first || state === "active";
  at("code-intro").textContent = !usable
    ? t("code.not_in_use", { state: named("state", state) })
    : t(first ? "code.first.intro" : "code.intro");
  at("code-intro").hidden = shown !== null && !first;
  button("code-get").hidden = !usable;
  const get = first ? t("code.first.get") : t("code.get");
  button("code-get").textContent = shown ? t("code.again") : get;
  // Another code voids the one that is shown.
  button("code-get").classList.toggle("main", shown === null);
  button("code-check").hidden = state === "active";
  at("code-yours").textContent = t(first ? "code.first.yours" : "code.yours");
  at("code-shown").hidden = shown === null;
  at("offline").hidden = state !== "active";
  button("offline-set").hidden = totp !== null;
  button("offline-show").hidden = totp === null;
  button("offline-show").textContent = t(offline ? "offline.hide" : "offline.show");
  button("offline-show").setAttribute("aria-expanded", String(offline));
  at("offline-intro").hidden = totp !== null;
  at("offline-shown").hidden = !offline || totp === null;
  tick();
}

function tick() {
  if (shown) {
    const left = shown.until - now();
    if (left <= 0) {
      shown = null;
      at("code-digits").textContent = "";
      say(t("code.over"));
      drawCode();
      return;
    }
    digits("code-digits", shown.code);
    ring("code-ring", left / (shown.until - shown.from));
    at("code-until").textContent = t("code.until", { time: clock(shown.until) });
  }
  if (transfer && transfer.until <= now()) {
    transfer = null;
    drawSettings();
  }
  if (offline && device?.totp) {
    const { totp } = device;
    codeAt(totp, now()).then(({ code, left }) => {
      digits("offline-digits", code);
      ring("offline-ring", left / (totp.period * 1000));
      at("offline-left").textContent = t("offline.left", { seconds: String(Math.ceil(left / 1000)) });
    }, () => undefined);
  }
}

/** @param {string} id */
async function copied(id) {
  const code = (at(id).textContent ?? "").replace(/\s/g, "");
  await navigator.clipboard.writeText(code);
  say(t("code.copied"));
}

async function getCode() {
  const { key, serial } = enrolled();
  /** @type {Code} */
  const made = await call(key, "POST", "/v1/device/otp", { serial, uv: "none" });
  const from = now();
  shown = { code: made.code, from, until: from + made.expires_in * 1000 };
  drawCode();
}

async function setTotp() {
  const own = enrolled();
  let made;
  try {
    made = await call(own.key, "POST", "/v1/device/totp", {});
  } catch (error) {
    if (!(error instanceof Problem) || error.word !== "conflict") {
      throw error;
    }
    // A key whose answer was lost is given up for another one.
    const waiting = await call(own.key, "GET", "/v1/device/pending");
    const lost = waiting.tokens.find((/** @type {Token} */ token) => token.kind === "totp" && token.state === "active");
    if (!lost) {
      say(t("offline.refused", { why: error.message }));
      return;
    }
    made = await call(own.key, "POST", "/v1/device/totp", { replaces: lost.serial });
  }
  own.totp = await taken(made);
  made.secret = "";
  await keep("device", own);
  offline = true;
  drawCode();
}

function enrolled() {
  if (!device) {
    throw new Error("this telephone is not set up");
  }
  return device;
}

// What the server says

/** Asks the server for the present state, and draws it. */
async function fresh() {
  const own = device;
  if (!own) {
    return;
  }
  try {
    const waiting = await call(own.key, "GET", "/v1/device/pending");
    const token = serverToken(waiting.tokens);
    if (token && (token.state !== own.state || token.expires !== own.expires || token.serial !== own.serial)) {
      Object.assign(own, { serial: token.serial, state: token.state, expires: token.expires });
      await keep("device", own);
    }
    const carries = (/** @type {Token} */ one) => one.serial === own.totp?.serial && one.state === "active";
    if (own.totp && !waiting.tokens.some(carries)) {
      own.totp = null;
      await keep("device", own);
    }
    drawRequests(waiting.codes);
    drawCode();
    if (screen === "settings") {
      drawSettings();
      const all = await call(own.key, "GET", "/v1/device");
      drawOthers(all.devices);
    }
  } catch (error) {
    say(why(error));
  }
}

/**
 * @param {string} id
 * @param {HTMLElement[][]} items
 */
function list(id, items) {
  at(`${id}-none`).hidden = items.length > 0;
  const rows = items.map((parts) => {
    const row = document.createElement("li");
    row.append(...parts);
    return row;
  });
  at(`${id}-list`).replaceChildren(...rows);
}

/**
 * @param {string} kind
 * @param {string} text
 * @param {string} [style]
 */
function element(kind, text, style) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (style) {
    made.className = style;
  }
  return made;
}

/** @param {import("./server.js").OpenCode[]} codes */
function drawRequests(codes) {
  const items = codes.map(({ kind, way, to, expires, serial }) => {
    const title = named("requests", way).replace("{kind}", named("kind", kind));
    const facts = [to && t("requests.to", { to }), expires && t("requests.until", { time: clock(Date.parse(expires)) })];
    return [
      element("strong", title),
      element("span", facts.filter(Boolean).join(", "), "small"),
      element("span", serial, "small serial"),
    ];
  });
  at("requests-intro").hidden = items.length === 0;
  list("requests", items);
}

function drawSettings() {
  if (!device) {
    return;
  }
  const { user, serial, state, expires } = device;
  at("settings-user").textContent = user;
  at("settings-device").textContent = device.device;
  at("settings-token").textContent = serial;
  at("settings-state").textContent = named("state", state);
  at("settings-expires").textContent = expires ? day(expires) : t("settings.never");
  at("transfer-shown").hidden = transfer === null;
  button("transfer-get").hidden = transfer !== null;
  digits("transfer-digits", transfer?.code ?? "");
  at("transfer-until").textContent = transfer ? t("settings.transfer.until", { time: clock(transfer.until) }) : "";
  at("account-card").hidden = state !== "active";
  button("renew").hidden = expires === null || state !== "active";
  if (document.activeElement !== field("rename-name")) {
    field("rename-name").value = device.name;
  }
}

/** @param {import("./server.js").ListedDevice[]} devices */
function drawOthers(devices) {
  const others = devices.filter((one) => !one.this && one.state === "active");
  const items = others.map((one) => {
    const end = document.createElement("button");
    end.type = "button";
    end.textContent = t("settings.end");
    end.setAttribute("aria-label", `${t("settings.end")}: ${one.name}`);
    end.addEventListener("click", () => acting(end, () => ended(one.device, one.name)));
    const seen = one.last_seen ? t("settings.seen", { time: day(one.last_seen) }) : one.device;
    return [element("strong", one.name), element("span", seen, "small"), end];
  });
  list("others", items);
}

/**
 * @param {string} id
 * @param {string} name
 */
async function ended(id, name) {
  if (await asked(t("settings.end.sure", { name }))) {
    await call(enrolled().key, "DELETE", `/v1/device/${id}`);
    await fresh();
  }
}

async function renamed() {
  const own = enrolled();
  const name = field("rename-name").value.trim();
  await call(own.key, "PATCH", "/v1/device", { name });
  own.name = name;
  await keep("device", own);
  drawSettings();
}

async function renewed() {
  const own = enrolled();
  /** @type {Token} */
  const token = await call(own.key, "POST", "/v1/device/renew", { serial: own.serial });
  own.expires = token.expires;
  await keep("device", own);
  drawSettings();
  say(t("settings.renewed", { time: token.expires ? day(token.expires) : "" }));
}

async function transferred() {
  const own = enrolled();
  /** @type {Code} */
  const made = await call(own.key, "POST", "/v1/device/transfer", { serial: own.serial });
  transfer = { code: made.code, until: now() + made.expires_in * 1000 };
  // It took the place of a code.
  shown = null;
  drawSettings();
}

/** Self-service, signed in by this telephone's key. */
async function account() {
  try {
    await call(enrolled().key, "POST", "/me/sign-in/device", {}, "same-origin");
  } catch (error) {
    if (error instanceof Problem && error.word === "http-404") {
      say(t("settings.account.none"));
      return;
    }
    throw error;
  }
  location.assign("/me");
}

async function removed() {
  if (!(await asked(t("settings.remove.sure")))) {
    return;
  }
  const own = enrolled();
  try {
    await call(own.key, "DELETE", `/v1/device/${own.device}`);
  } catch (error) {
    // What the server has ended already is gone here too; what it could not be told stays.
    if (!(error instanceof Problem) || error.word !== "not-taken") {
      throw error;
    }
  }
  await forget("device");
  [device, shown, transfer, offline] = [undefined, null, null, false];
  await enrolling(null);
  say(t("ended"));
}

// The page

/** @type {(Event & { prompt(): Promise<unknown> }) | undefined} */
let installer;

function wired() {
  /**
   * @param {string} id
   * @param {() => Promise<void>} act
   */
  const pressed = (id, act) => button(id).addEventListener("click", () => acting(button(id), act));
  /**
   * @param {string} id
   * @param {() => Promise<void>} act
   */
  const submitted = (id, act) => {
    at(id).addEventListener("submit", (event) => {
      event.preventDefault();
      const send = at(id).querySelector("button");
      if (send) {
        void acting(send, act);
      }
    });
  };
  submitted("enrol-form", enrol);
  submitted("rename-form", renamed);
  pressed("code-get", getCode);
  pressed("code-check", fresh);
  pressed("code-copy", () => copied("code-digits"));
  pressed("offline-copy", () => copied("offline-digits"));
  pressed("offline-set", setTotp);
  pressed("offline-show", async () => {
    offline = !offline;
    drawCode();
  });
  pressed("account", account);
  pressed("renew", renewed);
  pressed("transfer-get", transferred);
  pressed("remove", removed);
  pressed("install", async () => {
    await installer?.prompt();
  });
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.addEventListener("click", () => {
      say("");
      if (tab instanceof HTMLElement) {
        show(/** @type {Screen} */ (tab.dataset.screen));
      }
    });
  }
  part("language", HTMLSelectElement).addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement) {
      speak(event.target.value === "ko" ? "ko" : "en");
      say("");
      speaking();
      show(screen);
    }
  });
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    installer = /** @type {typeof installer} */ (event);
    button("install").hidden = false;
    at("install-how").hidden = true;
  });
  addEventListener("hashchange", () => {
    const link = fromLink();
    if (link && !device) {
      void enrolling(link);
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      tick();
      if (screen === "requests") {
        void fresh();
      }
    }
  });
  setInterval(tick, 250);
  setInterval(() => {
    if (screen === "requests" && !document.hidden) {
      void fresh();
    }
  }, 5000);
}

async function begun() {
  speaking();
  wired();
  if (!globalThis.isSecureContext || !globalThis.crypto?.subtle || !globalThis.indexedDB) {
    say(t("unsupported"));
    return;
  }
  const forAccount = location.hash === "#account";
  const link = fromLink();
  device = await kept("device");
  if (device && forAccount) {
    show("settings");
    await acting(button("account"), account);
  } else if (device) {
    show("code");
    await fresh();
  } else if (!(await recovered())) {
    await enrolling(link);
  }
  await navigator.serviceWorker?.register("/app/sw.js", { scope: "/app/" });
}

begun().catch((error) => say(why(error)));
