// The authenticator of the browser on phone-sized Chromium, against a daemon that a Rust test has started.
// ONCEGATE_BROWSER: {"base", "api": key of scope verify, "admin": key of scope admin, "out": directory of pictures,
// "links": {user: link}}; a code is open for alice beside her telephone's.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { base, api, admin, out, links } = JSON.parse(process.env.ONCEGATE_BROWSER);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(out, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const violations = [];

async function telephone({ locale = "en-US", dark = false, ed25519 = true } = {}) {
  const context = await browser.newContext({
    locale,
    colorScheme: dark ? "dark" : "light",
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  await page.exposeFunction("violated", (what) => violations.push(what));
  await page.addInitScript((ed25519) => {
    addEventListener("securitypolicyviolation", (event) => {
      window.violated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
    });
    if (!ed25519) {
      const generate = crypto.subtle.generateKey.bind(crypto.subtle);
      crypto.subtle.generateKey = (parameters, ...rest) =>
        parameters.name === "Ed25519"
          ? Promise.reject(new DOMException("no such algorithm", "NotSupportedError"))
          : generate(parameters, ...rest);
    }
  }, ed25519);
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) {
      violations.push(message.text());
    }
  });
  page.on("pageerror", (error) => violations.push(String(error)));
  return { context, page };
}

async function pictured(page, name) {
  await page.waitForTimeout(100);
  await page.screenshot({ path: `${out}/app-${name}.png`, fullPage: true });
  await page.evaluate(axeSource);
  const { violations: found } = await page.evaluate(() => window.axe.run());
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
  assert.deepEqual(told, [], `axe: ${name}`);
}

async function verified(user, otp) {
  const answer = await fetch(`${base}/v1/verify`, {
    method: "POST",
    headers: { authorization: `Bearer ${api}`, "content-type": "application/json" },
    body: JSON.stringify({ user, otp }),
  });
  return (await answer.json()).decision;
}

const digits = async (page, id) => (await page.locator(id).textContent()).replace(/\s/g, "");

async function code(page) {
  const before = await digits(page, "#code-digits");
  await page.click("#code-get");
  await page.waitForFunction(
    (before) => {
      const now = document.getElementById("code-digits").textContent.replace(/\s/g, "");
      return now !== "" && now !== before;
    },
    before,
  );
  return digits(page, "#code-digits");
}

/** Tries to get the octets of a key that the page keeps. */
const exported = (page, path) =>
  page.evaluate(async (path) => {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open("oncegate", 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const device = await new Promise((resolve) => {
      const request = database.transaction("kept").objectStore("kept").get("device");
      request.onsuccess = () => resolve(request.result);
    });
    database.close();
    const key = path.split(".").reduce((value, name) => value[name], device);
    const results = [];
    for (const format of ["jwk", "pkcs8", "raw"]) {
      results.push(await crypto.subtle.exportKey(format, key).then(() => "exported", (error) => error.name));
    }
    return { extractable: key.extractable, algorithm: key.algorithm.name, results };
  }, path);

async function enrolled(page, link) {
  await page.goto(link);
  await page.waitForSelector("#enrol:not([hidden])");
  assert.equal(new URL(page.url()).hash, "", "the code does not stay in the address");
  await page.click("#enrol-form button");
  await page.waitForSelector("#code:not([hidden])");
}

async function englishTelephone() {
  const phone = await telephone({ ed25519: false });
  const { page, context } = phone;
  await page.goto(`${base}/app/`);
  await page.waitForSelector("#enrol:not([hidden])");
  await pictured(page, "enrol-en");
  await page.fill("#enrol-user", "alice");
  await page.fill("#enrol-code", "0000-0000-0000");
  await page.click("#enrol-form button");
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("wrong"));

  await enrolled(page, links.alice);
  const key = await exported(page, "key.privateKey");
  assert.deepEqual([key.extractable, key.algorithm], [false, "ECDSA"]);
  assert.ok(!key.results.includes("exported"), JSON.stringify(key));
  const first = await code(page);
  assert.match(first, /^\d{6}$/);
  await page.click("#code-copy");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), first);
  await pictured(page, "code-en");
  assert.equal(await verified("alice", first), "accept");
  assert.equal(await verified("alice", first), "reject");

  await page.reload();
  await page.waitForSelector("#code:not([hidden])");
  const [old, next] = [await code(page), await code(page)];
  assert.equal(await verified("alice", old), "reject", "a new code voids the one before");
  assert.equal(await verified("alice", next), "accept");

  await page.click("#offline-set");
  await page.waitForSelector("#offline-shown:not([hidden])");
  const seed = await exported(page, "totp.key");
  assert.deepEqual([seed.extractable, seed.algorithm], [false, "HMAC"]);
  assert.ok(!seed.results.includes("exported"), JSON.stringify(seed));
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await context.setOffline(true);
  await page.reload();
  await page.waitForSelector("#code:not([hidden])");
  await page.click("#offline-show");
  await page.waitForFunction(() => /\d/.test(document.getElementById("offline-digits").textContent));
  await pictured(page, "offline-en");
  const alone = await digits(page, "#offline-digits");
  assert.equal(await verified("alice", alone), "accept");
  assert.equal(await verified("alice", alone), "reject");
  await page.click("#code-get");
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("cannot be reached"));
  await context.setOffline(false);

  await page.click("#tabs [data-screen=requests]");
  await page.waitForSelector("#requests-list li");
  await pictured(page, "requests-en");
  await page.click("#tabs [data-screen=settings]");
  await page.fill("#rename-name", "Alice's phone");
  await page.click("#rename-form button");
  await page.click(".card summary");
  await page.waitForFunction(() => !document.querySelector("#rename-form button").disabled);
  await pictured(page, "settings-en");
  return phone;
}

async function transferred({ page: old }) {
  await old.click("#transfer-get");
  await old.waitForSelector("#transfer-shown:not([hidden])");
  const twelve = await digits(old, "#transfer-digits");
  assert.match(twelve, /^\d{12}$/);
  await pictured(old, "transfer-en");
  const { page, context } = await telephone();
  await page.goto(`${base}/app/`);
  await page.fill("#enrol-user", "alice");
  await page.fill("#enrol-code", twelve.replace(/(.{4})/g, "$1 "));
  // The answer is lost: the server has the key, and the page asks whether it has.
  await page.route("**/v1/device/enroll", async (route) => {
    await route.fetch();
    await route.abort();
  });
  await page.click("#enrol-form button");
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("cannot be reached"));
  await page.unroute("**/v1/device/enroll");
  await page.reload();
  await page.waitForSelector("#code:not([hidden])");
  assert.equal((await exported(page, "key.privateKey")).algorithm, "Ed25519");
  assert.equal(await verified("alice", await code(page)), "accept");
  await old.click("#tabs [data-screen=code]");
  await old.click("#code-get");
  await old.waitForFunction(() => document.getElementById("message").textContent.includes("does not know this telephone"));
  await old.click("#tabs [data-screen=settings]");
  await old.click("#remove");
  await pictured(old, "remove-en");
  await old.click("#ask button[value=yes]");
  await old.waitForSelector("#enrol:not([hidden])");
  await context.close();
}

async function koreanTelephone() {
  const { page, context } = await telephone({ locale: "ko-KR", dark: true });
  await page.goto(links.bo);
  await page.waitForSelector("#enrol:not([hidden])");
  await pictured(page, "enrol-ko");
  await page.keyboard.press("Enter");
  await page.focus("#enrol-name");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#code:not([hidden])");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
  assert.equal(await verified("bo", await code(page)), "accept");
  await page.click("#offline-set");
  await page.waitForSelector("#offline-shown:not([hidden])");
  await pictured(page, "code-ko");
  await page.click("#tabs [data-screen=requests]");
  await pictured(page, "requests-ko");
  await page.click("#tabs [data-screen=settings]");
  await page.click(".card summary");
  await page.click("#transfer-get");
  await page.waitForSelector("#transfer-shown:not([hidden])");
  await pictured(page, "settings-ko");
  await page.selectOption("#language", "en");
  assert.equal(await page.locator("#settings-title").textContent(), "Settings");
  const visible = await page.locator("body").innerText();
  assert.ok(!/[가-힣]/.test(visible.replace("한국어", "")), visible);
  await context.close();
}

/** Where the policy wants the first code confirmed, the page of the link takes the one of this telephone. */
async function confirmed() {
  const made = await fetch(`${base}/v1/admin/users/dae/enrol-link`, {
    method: "POST",
    headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
    body: JSON.stringify({ server_url: base, policy: "strict" }),
  });
  const { page, context } = await telephone({ locale: "ko-KR" });
  await page.goto((await made.json()).link);
  await page.click("#telephone:visible");
  await page.waitForSelector("#device-first:visible");
  await pictured(page, "first-ko");
  assert.equal(await page.getAttribute("#open", "target"), "_blank", "the page stays open");
  const open = new URL(await page.getAttribute("#open", "href"));
  const app = await context.newPage();
  await enrolled(app, `${base}/app/${open.hash}`);
  const first = await code(app);
  assert.equal(await verified("dae", first), "reject", "it opens no login yet");
  await pictured(app, "pending-ko");
  await page.fill("#device-otp", first === "000000" ? "000001" : "000000");
  await page.click("#device-send");
  await page.waitForSelector("#message:visible");
  await app.waitForTimeout(3100);
  await page.fill("#device-otp", await code(app));
  await page.click("#device-send");
  await page.waitForSelector("#done:visible");
  await app.click("#code-check");
  await app.waitForSelector("#offline:visible");
  assert.equal(await verified("dae", await code(app)), "accept");

  // The same telephone opens what is its user's, without a password.
  await app.click("#tabs [data-screen=settings]");
  await app.click("#account");
  await app.waitForURL(/\/me$/);
  assert.match(await app.locator("body").innerText(), /dae@default/);
  await context.close();
}

/** A link of an enrolment, and this telephone instead of an authenticator app. */
async function chosen() {
  const made = await fetch(`${base}/v1/admin/users/cho/enrol-link`, {
    method: "POST",
    headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
    body: JSON.stringify({ server_url: base }),
  });
  const { page, context } = await telephone();
  await page.goto((await made.json()).link);
  await page.waitForSelector("#telephone:visible");
  await pictured(page, "choose-en");
  await page.click("#telephone");
  await page.waitForSelector("#device:not([hidden])");
  await pictured(page, "chosen-en");
  const open = new URL(await page.getAttribute("#open", "href"));
  assert.equal(open.pathname, "/app/");
  await enrolled(page, `${base}/app/${open.hash}`);
  assert.equal(await verified("cho", await code(page)), "accept");
  await context.close();
}

try {
  const phone = await englishTelephone();
  await transferred(phone);
  await koreanTelephone();
  await chosen();
  await confirmed();
  assert.deepEqual(violations, []);
} finally {
  await browser.close();
}
console.log("all right");
