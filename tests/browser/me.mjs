// Self-service in Chromium, with and without script, against a daemon that a Rust test has started.
// ONCEGATE_BROWSER: {"base", "out": directory of pictures, "password", "pin", "secrets": base 32 of the users'
// HOTP tokens, "admin": key of scope admin}

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

import { fromBase32 } from "../../src/web/app/bytes.js";

const { base, out, password, pin, secrets, admin } = JSON.parse(process.env.ONCEGATE_BROWSER);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(out, { recursive: true });

function code(secret, counter) {
  const moving = Buffer.alloc(8);
  moving.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac("sha1", fromBase32(secret)).update(moving).digest();
  const value = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return String(value % 1_000_000).padStart(6, "0");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const violations = [];

async function visitor(name, { locale, dark, script, phone }) {
  const context = await browser.newContext({
    locale,
    colorScheme: dark ? "dark" : "light",
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 900 },
    javaScriptEnabled: script,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) {
      violations.push(message.text());
    }
  });
  page.on("pageerror", (error) => violations.push(String(error)));
  let counter = 0;
  const next = () => code(secrets[name], counter++);
  const pictured = async (name) => {
    await page.screenshot({ path: `${out}/me-${name}.png`, fullPage: true });
    const text = await page.locator("body").innerText();
    assert.ok(!/\b(me|sign_in|shell|refused|reason)\.[a-z_]+/.test(text), text);
    const wide = await page.locator("html").evaluate((root) => root.scrollWidth - root.clientWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
    if (script) {
      await page.evaluate(axeSource);
      const { violations: found } = await page.evaluate(() => window.axe.run());
      const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
      assert.deepEqual(told, [], `axe: ${name}`);
    }
  };
  return { context, page, next, pictured };
}

const form = (page, to) => page.locator(`form[action="${to}"]`).first();

async function opened(page, to) {
  const fold = page.locator(`details:has(form[action="${to}"]) > summary`).first();
  if ((await fold.count()) > 0) {
    await fold.click();
  }
  return form(page, to);
}

async function signedIn({ page, next }, name) {
  await page.goto(`${base}/me`);
  assert.ok(page.url().endsWith("/me/sign-in"));
  const sign = form(page, "/me/sign-in");
  await sign.locator("[name=name]").fill(name);
  await sign.locator("[name=password]").fill(password);
  await sign.locator("[name=code]").fill(next());
  await sign.locator("button").click();
  await page.waitForURL(`${base}/me`);
}

async function proven({ page, next }, to) {
  const more = await opened(page, to);
  await more.locator("[name=password]").fill(password);
  await more.locator("[name=code]").fill(next());
  await more.locator("button").click();
  await page.waitForURL(`${base}${to}`);
}

const contactForm = (page, which) => page.locator(`form[action="/me/contact"]:has(input[value="${which}"])`);

/** By keyboard: the fold opens by Enter, and what is typed goes by Enter. */
async function contact({ page, next }, which, address, { wrong = false } = {}) {
  await page.goto(`${base}/me`);
  const fold = page.locator(`details:has(form[action="/me/contact"] input[value="${which}"]) > summary`);
  await fold.focus();
  await page.keyboard.press("Enter");
  const change = contactForm(page, which);
  await change.locator("[name=password]").focus();
  await page.keyboard.type(wrong ? "wrong horse battery" : password);
  await page.keyboard.press("Tab");
  await page.keyboard.type(wrong ? "000000" : next());
  await page.keyboard.press("Tab");
  await page.keyboard.type(address);
  await page.keyboard.press("Enter");
  await page.locator(".notice").waitFor();
}

/** Telephone number, mail address and consent: changed, refused, withdrawn. */
async function contacts(visit, tag) {
  const { page, pictured } = visit;
  const korean = (await page.locator("html").getAttribute("lang")) === "ko";
  await page.goto(`${base}/me`);
  for (const which of ["phone", "email"]) {
    await page.locator(`details:has(form[action="/me/contact"] input[value="${which}"]) > summary`).click();
  }
  await page.locator('details:has(form[action="/me/consent"]) > summary').click();
  await pictured(`forms-${tag}`);

  await contact(visit, "email", "no address");
  assert.equal(await page.locator(".notice.bad").count(), 1);
  await pictured(`contact-refused-${tag}`);
  const refusal = await page.locator(".notice.bad").innerText();
  assert.ok(!korean || /[\uac00-\ud7a3]/.test(refusal), refusal);
  await contact(visit, "phone", "+82 10 5555 0000", { wrong: true });
  assert.equal(await page.locator(".notice.bad").count(), 1);
  await contact(visit, "email", "moved@new.example");
  assert.equal(await page.locator(".notice.good").count(), 1);
  await pictured(`contact-${tag}`);
  await contact(visit, "phone", "+82 10 5555 0000");
  assert.equal(await page.locator(".notice.good").count(), 1);
  await page.goto(`${base}/me`);
  const shown = await page.locator("main").innerText();
  assert.ok(!shown.includes("moved@new.example") && !shown.includes("5555 0000") && shown.includes("0000"), shown);

  const fold = page.locator('details:has(form[action="/me/consent"]) > summary');
  await fold.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator(".notice.good").waitFor();
  await pictured(`consent-${tag}`);
  await page.goto(`${base}/me`);
  assert.equal(await page.locator('form[action="/me/consent"]').count(), 0, "taken back, once");
}

/** Those forms alone, for a person with another language, size and light. */
async function forms(name, how, tag) {
  const visit = await visitor(name, how);
  await signedIn(visit, name);
  await contacts(visit, tag);
  await visit.context.close();
}

async function day(name, how, tag) {
  const visit = await visitor(name, how);
  const { page, pictured, next, context } = visit;
  await page.goto(`${base}/me`);
  await pictured(`sign-in-${tag}`);
  const sign = form(page, "/me/sign-in");
  await sign.locator("[name=name]").fill("nobody");
  await sign.locator("[name=password]").fill("wrong");
  await sign.locator("[name=code]").fill("000000");
  await sign.locator("button").click();
  await page.locator(".notice.bad").waitFor();
  await pictured(`refused-${tag}`);
  await signedIn(visit, name);
  await pictured(`home-${tag}`);
  const { x, width } = await form(page, "/me/lost").locator("button").boundingBox();
  assert.ok(x >= 0 && x + width <= page.viewportSize().width, "reached without scrolling sideways");

  const change = await opened(page, "/me/pin");
  await change.locator("[name=pin]").fill(pin);
  await change.locator("[name=code]").fill(next());
  await change.locator("[name=new]").fill("905173");
  await change.locator("[name=again]").fill("905173");
  await change.locator("button").click();
  await page.locator(".notice.good").waitFor();

  await contacts(visit, tag);
  await page.goto(`${base}/me`);
  await proven(visit, "/me/recovery");
  const codes = (await page.locator("output").first().textContent()).trim().split(/\s*\n\s*/);
  assert.equal(codes.length, 10);
  await pictured(`recovery-${tag}`);

  await page.goto(`${base}/me`);
  await proven(visit, "/me/token");
  const key = (await page.locator("dd code").first().textContent()).replace(/\s/g, "");
  assert.match(key, /^[A-Z2-7]{32}$/);
  await pictured(`token-${tag}`);
  const first = form(page, "/me/token/code");
  await first.locator("[name=code]").fill("000000");
  await first.locator("button").click();
  await page.locator(".notice.bad").waitFor();
  await form(page, "/me/token/code").locator("[name=code]").fill(code(key, Math.floor(Date.now() / 30_000)));
  await form(page, "/me/token/code").locator("button").click();
  await page.locator(".notice.good").waitFor();

  await page.goto(`${base}/me`);
  const language = form(page, "/me/language");
  const other = how.locale === "ko-KR" ? "en" : "ko";
  await language.locator("select").selectOption(other);
  await language.locator("button").click();
  assert.equal(await page.locator("html").getAttribute("lang"), other);

  // Another's is not there.
  const cookies = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
  const post = (path, body, headers) =>
    fetch(base + path, { method: "POST", body: new URLSearchParams(body), headers: { cookie: cookies, ...headers }, redirect: "manual" });
  const own = { "sec-fetch-site": "same-origin" };
  assert.equal((await post("/me/lost", { serial: "HOTP-00000000" }, own)).status, 404);
  assert.equal((await post("/me/device", { device: "DEVICE-00000000" }, own)).status, 404);
  for (const headers of [{ "sec-fetch-site": "cross-site" }, { origin: "https://evil.example" }]) {
    assert.equal((await post("/me/not-me", {}, headers)).status, 403);
  }

  const lost = form(page, "/me/lost");
  await lost.locator("button").click();
  await page.locator(".notice.good").waitFor();
  await page.goto(`${base}/me`);
  await (await opened(page, "/me/not-me")).locator("button").click();
  await page.locator(".notice.good").waitFor();
  await pictured(`not-me-${tag}`);
  const tokens = await fetch(`${base}/v1/admin/tokens?user=${name}`, { headers: { authorization: `Bearer ${admin}` } });
  const states = (await tokens.json()).tokens.map(({ state }) => state);
  assert.ok(states.length >= 3 && states.every((state) => state !== "active"), JSON.stringify(states));
  await page.goto(`${base}/me`);
  await page.locator('form[action="/me/sign-out"] button').click();
  await page.waitForURL(`${base}/me/sign-in`);
  assert.equal((await fetch(`${base}/me`, { headers: { cookie: cookies }, redirect: "manual" })).status, 303);
  await context.close();
}

/** A session id that an attacker chose is not taken, and a flood is held back. */
async function attacked() {
  const post = (body, cookie) =>
    fetch(`${base}/me/sign-in`, {
      method: "POST",
      body: new URLSearchParams(body),
      headers: { "sec-fetch-site": "same-origin", ...(cookie ? { cookie } : {}) },
      redirect: "manual",
    });
  const chosen = "oncegate-me=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const body = { name: "bo", password, code: code(secrets.bo, 40) };
  // All of bo's tokens are suspended.
  assert.equal((await post(body, chosen)).status, 401);
  const page = await fetch(`${base}/me`, { headers: { cookie: chosen }, redirect: "manual" });
  assert.equal(page.status, 303);
  for (const oversize of [{ name: "x".repeat(20_000) }, { name: "a\0b" }, {}]) {
    assert.ok([400, 401, 413].includes((await post(oversize)).status));
  }
  const flood = await Promise.all(Array.from({ length: 60 }, () => post({ name: "alice", password: "x", code: "1" })));
  const statuses = flood.map(({ status }) => status);
  assert.ok(statuses.includes(429), JSON.stringify(statuses));
}

try {
  await day("alice", { locale: "en-US", dark: false, script: true, phone: true }, "en");
  await day("bo", { locale: "ko-KR", dark: true, script: false, phone: false }, "ko");
  await forms("cho", { locale: "ko-KR", dark: false, script: true, phone: true }, "ko-telephone");
  await forms("dan", { locale: "en-US", dark: true, script: true, phone: false }, "en-desktop");
  await attacked();
  assert.deepEqual(violations, []);
} finally {
  await browser.close();
}
console.log("all right");
