// A whole day, in one browser and on one telephone, against a daemon that a Rust test has started: a link makes the
// first administrator; a RADIUS client and a user; the user enrols by link on a telephone; the code opens the VPN; the
// user is locked, found, unlocked, and it is explained; a policy is changed by two people; the audit is exported.
// ONCEGATE_BROWSER: {"base", "radius": address and port, "links": {"kim", "lee"}, "out": directory of pictures}.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import * as common from "./common.mjs";
import { code, launched, opened, violations } from "./common.mjs";

const { base, radius, links, out } = JSON.parse(process.env.ONCEGATE_BROWSER);
mkdirSync(out, { recursive: true });
const browser = await launched();
const pictured = (page, name) => common.pictured(page, `${out}/day-${name}.png`);

/** A person sets up their account by a link; the key of their authenticator. */
async function setUp(page, link, name) {
  await page.goto(link);
  await page.fill('input[name="name"]', name);
  await page.fill('input[name="password"]', "correct horse staple");
  await page.fill('input[name="again"]', "correct horse staple");
  await page.click("main button.good");
  const key = await page.textContent("output");
  await page.fill('input[name="code"]', code(key));
  await page.click("main button.good");
  await page.waitForSelector("output");
  await page.click("main button.good");
  await page.waitForURL(/\/console\??$/);
  return key;
}

/** Fills in and sends the form of an act. */
async function act(page, id, fields = {}) {
  const fold = page.locator(`details:has(form[action="/console/act/${id}"]) > summary`).first();
  if ((await fold.count()) > 0) await fold.click();
  const form = page.locator(`form[action="/console/act/${id}"]`).first();
  for (const [name, value] of Object.entries(fields)) {
    const field = form.locator(`[name="${name}"]`);
    const tag = await field.evaluate((element) => element.tagName);
    await (tag === "SELECT" ? field.selectOption(value) : field.fill(value));
  }
  await form.locator("button").click();
}

/** A login at the VPN gateway, as its RADIUS client asks. */
function login(secret, user, password) {
  return new Promise((resolve, reject) => {
    const client = spawn("radclient", ["-x", "-r", "1", "-t", "5", radius, "auth", secret]);
    let said = "";
    client.stdout.on("data", (text) => (said += text));
    client.stderr.on("data", (text) => (said += text));
    client.on("error", reject);
    client.on("close", () => resolve(/Received (Access-\w+)/.exec(said)?.[1] ?? said));
    client.stdin.end(`User-Name = "${user}"\nUser-Password = "${password}"\nMessage-Authenticator = 0x00\n`);
  });
}

async function serverCode(page) {
  const digits = async () => (await page.textContent("#code-digits")).replace(/\s/g, "");
  const before = await digits();
  await page.click("#code-get");
  await page.waitForFunction((before) => {
    const now = document.getElementById("code-digits").textContent.replace(/\s/g, "");
    return now !== "" && now !== before;
  }, before);
  return digits();
}

// Morning: the first administrator, a gateway, a user.
const { page } = await opened(browser);
await setUp(page, links.kim, "kim");
await page.click('nav a[href="/console/clients"]');
await act(page, "add_radius", { name: "gate", addresses: "127.0.0.1", profile: "generic" });
const secret = (await page.locator("output").first().textContent()).trim();
assert.ok(secret.length >= 16);
await page.click('nav a[href="/console/users"]');
await act(page, "add_user", { user: "alice", display_name: "Alice Kim", groups: "staff" });
await page.waitForURL(/done=add_user/);
await page.fill(".find input", "alice");
await page.press(".find input", "Enter");
await page.waitForURL(/users\/alice/);
assert.match(await page.textContent("main"), /No token/);
await act(page, "enrol_link", { deliver: "link" });
const link = (await page.locator("output").first().textContent()).trim();
assert.match(link, /\/enrol#/);

// The user, on a telephone.
const phone = await opened(browser, { telephone: true });
await phone.page.goto(link.replace("http://localhost", base));
await phone.page.waitForSelector("#telephone:visible");
await phone.page.click("#telephone");
await phone.page.waitForSelector("#device:not([hidden])");
await phone.page.goto(`${base}/app/${new URL(await phone.page.getAttribute("#open", "href")).hash}`);
await phone.page.waitForSelector("#enrol:not([hidden])");
await phone.page.click("#enrol-form button");
await phone.page.waitForSelector("#code:not([hidden])");
const first = await serverCode(phone.page);
assert.equal(await login(secret, "alice", first), "Access-Accept");
assert.equal(await login(secret, "alice", first), "Access-Reject", "once");

// Noon: locked. Without a manual: the search, one button, and why it was.
for (let tries = 0; tries < 4; tries += 1) assert.equal(await login(secret, "alice", "000000"), "Access-Reject");
assert.equal(await login(secret, "alice", await serverCode(phone.page)), "Access-Reject", "locked");
await page.fill(".find input", "alice");
await page.press(".find input", "Enter");
await page.waitForURL(/users\/alice/);
await pictured(page, "locked");
assert.match(await page.textContent(".notice"), /gate: /);
await page.locator('form[action="/console/act/unlock"] button').first().click();
await page.waitForURL(/done=unlock/);
assert.equal(await login(secret, "alice", await serverCode(phone.page)), "Access-Accept");
await page.reload();
await page.locator('a[href^="/console/why/"]', { hasText: "locked" }).first().click();
await page.waitForURL(/console\/why/);
assert.match(await page.textContent("main"), /What to do next/);
await pictured(page, "why");

// Afternoon: a rule is changed; another person looks at it and puts it into force.
await page.goto(`${base}/console/policies/default`);
await page.click('form[action="/console/draft"] button');
await page.waitForSelector("textarea");
const policy = await page.inputValue("textarea");
await act(page, "set_draft", { text: policy.replace('require = ["otp"]', 'require = ["otpp"]') });
await page.waitForURL(/done=set_draft/);
assert.match(await page.textContent("main"), /default\.toml:\d+/);
await pictured(page, "faulty");
const staff = '[[rule]]\nname = "staff"\nwhen = { group = "staff" }\nrequire = ["pin", "otp"]\n\n[[rule]]\nname = "everyone"';
await act(page, "set_draft", { text: policy.replace('[[rule]]\nname = "everyone"', staff), note: "staff: PIN too" });
await page.waitForURL(/done=set_draft/);
assert.match(await page.textContent("main"), /Another person approves it/);
await pictured(page, "draft");
await page.click('form[action="/console/draft/replay"] button');
assert.match(await page.textContent("main"), /alice@default/);
await pictured(page, "replay");

const second = await opened(browser, { locale: "ko-KR" });
await setUp(second.page, links.lee, "lee");
await second.page.click('nav a[href="/console/requests"]');
await second.page.click('a[href="/console/draft?policy=default"]');
await second.page.waitForSelector(".diff");
await pictured(second.page, "approve-ko");
await act(second.page, "approve_draft");
await second.page.waitForURL(/done=approve_draft/);
assert.equal(await login(secret, "alice", await serverCode(phone.page)), "Access-Reject", "the PIN is asked for now");

// Evening: what happened goes into a file.
await page.goto(`${base}/console/audit`);
const [download] = await Promise.all([
  page.waitForEvent("download"),
  page.locator('form[action="/console/audit/export"] button').first().click(),
]);
const audit = readFileSync(await download.path(), "utf8");
for (const wanted of ["user_unlock", "kim@console", "policy_draft_set", "policy_draft_approve", "lee@console", "policy_draft_apply", ",locked,"]) {
  assert.ok(audit.includes(wanted), wanted);
}
assert.deepEqual(violations, []);
await browser.close();
