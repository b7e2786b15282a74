// The console in Chromium, against a daemon that a Rust test has started.
// ONCEGATE_BROWSER: {"base", "link": a link into the console, "api": key of scope verify, "key": base32 key of
// alice's token, "out": directory of pictures}. ONCEGATE_PICTURES=write renews the pictures of the README.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync } from "node:fs";
import * as common from "./common.mjs";
import { code, launched, violations } from "./common.mjs";

const { base, link, api, key, out } = JSON.parse(process.env.ONCEGATE_BROWSER);
mkdirSync(out, { recursive: true });

async function verify(user, otp) {
  const answer = await fetch(`${base}/v1/verify`, {
    method: "POST",
    headers: { authorization: `Bearer ${api}`, "content-type": "application/json" },
    body: JSON.stringify({ user, otp, client_ip: "203.0.113.7" }),
  });
  return (await answer.json()).decision;
}

const browser = await launched();
const opened = (how) => common.opened(browser, how);
const pictured = (page, name) => common.pictured(page, `${out}/console-${name}.png`);

// First run: the link, a password, the authenticator, the recovery codes.
const { context, page } = await opened();
await page.goto(link);
assert.equal(await page.inputValue('input[name="link"]'), link.split("#")[1]);
assert.equal(new URL(page.url()).hash, "", "the code does not stay in the address");
await pictured(page, "setup-1");
await page.fill('input[name="name"]', "kim");
await page.fill('input[name="password"]', "correct horse staple");
await page.fill('input[name="again"]', "correct horse staple");
await page.click("main button.good");
const own = await page.textContent("output");
await pictured(page, "setup-2");
await page.fill('input[name="code"]', code(own));
await page.click("main button.good");
const codes = (await page.textContent("output")).trim().split("\n");
assert.equal(codes.length, 10);
await pictured(page, "setup-3");
await page.click("main button.good");
await page.waitForURL(/\/console\??$/);

// A login shows up by itself, as it happens.
await page.waitForTimeout(300);
assert.equal(await verify("alice", code(key)), "accept");
await page.waitForSelector("tr.new");
assert.equal(await verify("alice", code(key)), "reject");
assert.equal(await verify("alice", "000000"), "reject");
assert.equal(await verify("mallory", "000000"), "reject");
await page.waitForFunction(() => document.querySelectorAll("tr.new").length >= 3);

// From why a login failed to the unlocking, by keyboard alone.
await page.keyboard.press("/");
await page.keyboard.type("alice");
await page.keyboard.press("Enter");
await page.waitForURL(/console\/users\/alice/);
assert.match(await page.textContent(".notice"), /payroll: /);
const unlock = page.locator('form[action="/console/act/unlock"] button').first();
await unlock.focus();
await page.keyboard.press("Enter");
await page.waitForURL(/done=unlock/);
assert.match(await page.textContent(".notice.good"), /Unlock/);

// Keys lead to pages, and are listed.
await page.keyboard.press("g");
await page.keyboard.press("c");
await page.waitForURL(/console\/clients/);
await page.keyboard.press("?");
await page.waitForSelector("#keys[open]");
await pictured(page, "keys");
await page.click("#keys form button");

// A link for a new telephone, shown once.
await page.goto(`${base}/console/users/bora%40default`);
await page.locator('details:has(form[action="/console/act/enrol_link"]) summary').first().click();
await page.locator('form[action="/console/act/enrol_link"]:visible button').click();
assert.match(await page.textContent("output"), /\/enrol#/);
await pictured(page, "once");

// A client, with what to enter on the appliance.
await page.goto(`${base}/console/clients`);
await page.locator('details:has(form[action="/console/act/add_radius"]) summary').click();
const add = page.locator('form[action="/console/act/add_radius"]');
await add.locator('input[name="name"]').fill("gate");
await add.locator('input[name="addresses"]').fill("192.0.2.10");
await add.locator('select[name="profile"]').selectOption("fortigate");
await add.locator("button").click();
assert.ok((await page.textContent("output")).length >= 16);

const why = await page.goto(`${base}/console/audit?reason=used_code`).then(() =>
  page.locator('a[href^="/console/why/"]').first().getAttribute("href"),
);
const pages = {
  now: "/console",
  day: "/console?span=day",
  users: "/console/users",
  user: "/console/users/alice%40default",
  "no-token": "/console/users/bora%40default",
  stock: "/console/stock",
  import: "/console/import",
  requests: "/console/requests",
  clients: "/console/clients",
  client: "/console/clients/gate",
  policies: "/console/policies",
  policy: "/console/policies/default",
  foresee: "/console/policies?user=alice&client=vpn&ip=",
  audit: "/console/audit",
  record: "/console/audit/1",
  why,
  health: "/console/health",
  account: "/console/account",
};
const state = await context.storageState();
const looks = [
  ["en", {}],
  ["ko", { locale: "ko-KR" }],
  ["en-dark", { dark: true }],
  ["ko-dark-telephone", { locale: "ko-KR", dark: true, telephone: true }],
  ["en-telephone", { telephone: true }],
];
for (const [look, how] of looks) {
  const { context, page } = await opened({ ...how, state });
  for (const [name, path] of Object.entries(pages)) {
    const answer = await page.goto(`${base}${path}`);
    assert.equal(answer.status(), 200, `${look} ${name}`);
    const body = await answer.body();
    assert.ok(body.length < 100_000, `${name}: ${body.length} octets`);
    await pictured(page, `${look}-${name}`);
    // A telephone shows a page that is too wide smaller, so that its own width says nothing.
    const width = how.telephone ? 390 : 1280;
    const wide = (await page.evaluate(() => Math.max(document.documentElement.scrollWidth, innerWidth))) - width;
    assert.ok(wide <= 0, `${look} ${name} is ${wide} px too wide`);
  }
  await context.close();
}

// Without scripts: the same pages, forms and searches.
{
  const { context, page } = await opened({ script: false, state });
  await page.goto(`${base}/console/users`);
  await page.fill('main input[name="q"]', "al");
  await page.click("main form button");
  assert.match(await page.textContent("tbody"), /alice@default/);
  await page.goto(`${base}/console/users/dana%40default`);
  await page.click('form[action="/console/act/enable"] button');
  await page.waitForURL(/done=enable/);
  await context.close();
}

// Out, and a wrong way in.
await page.goto(`${base}/console`);
await page.click('form[action="/console/sign-out"] button');
await page.waitForURL(/sign-in/);
await pictured(page, "sign-in");
await page.fill('input[name="name"]', "kim");
await page.fill('input[name="password"]', "correct horse staple");
await page.fill('input[name="code"]', codes[0]);
await page.click("main button.good");
await page.waitForURL(/\/console\??$/);

assert.deepEqual(violations, []);
await browser.close();
if (process.env.ONCEGATE_PICTURES === "write") {
  for (const name of ["now", "user"]) {
    copyFileSync(`${out}/console-en-${name}.png`, new URL(`../../src/manual/pictures/console-${name}.png`, import.meta.url));
  }
}
