// A grave act asks for a code again after five minutes. The Rust test moves the clock: this program prints `later` or
// `code` on a line, and reads the answer from a line.
// ONCEGATE_BROWSER: {"base", "out": directory of pictures}.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import * as common from "./common.mjs";
import { launched, opened, violations } from "./common.mjs";

const { base, out } = JSON.parse(process.env.ONCEGATE_BROWSER);
mkdirSync(out, { recursive: true });
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => {
  process.stdout.write(`${what}\n`);
  return (await lines.next()).value;
};
const browser = await launched();

/** Adds a token of this kind for alice; the form asks for a code where one is needed. */
async function add(page, kind, code) {
  await page.goto(`${base}/console/users/alice%40default`);
  await page.locator('details:has(form[action="/console/act/add_token"]) > summary').first().click();
  const form = page.locator('form[action="/console/act/add_token"]').first();
  await form.locator('select[name="kind"]').selectOption(kind);
  assert.equal(await form.locator('input[name="step_up"]').count(), code === undefined ? 0 : 1);
  if (code !== undefined) await form.locator('input[name="step_up"]').fill(code);
  await form.locator("button").click();
}

const { context, page } = await opened(browser);
await page.goto(`${base}/console`);
await page.fill('input[name="name"]', "kim");
await page.fill('input[name="password"]', "correct horse staple");
await page.fill('input[name="code"]', await ask("code"));
await page.click("main button.good");
await page.waitForURL(/\/console\??$/);
const session = async () => (await context.cookies()).find(({ name }) => name === "oncegate")?.value;
await add(page, "totp");
await page.waitForSelector("output");
const before = await session();

await ask("later");
await add(page, "recovery", "000000");
await page.waitForSelector(".notice.warn");
assert.equal(await page.locator("output").count(), 0, "nothing is shown yet");
await common.pictured(page, `${out}/console-step-up.png`);
assert.equal(await session(), before);
await page.fill('input[name="step_up"]', await ask("code"));
await page.locator('form[action="/console/act/add_token"] button').click();
await page.waitForSelector("output");
assert.equal((await page.locator("output").first().textContent()).trim().split("\n").length, 10);
const after = await session();
assert.notEqual(after, before, "another session id");
// For five minutes it is not asked for again.
await add(page, "card");
await page.waitForSelector(".cells");

// Who has the old cookie has nothing.
const stolen = await fetch(`${base}/console`, { headers: { cookie: `oncegate=${before}` }, redirect: "manual" });
assert.equal(stolen.status, 303);
assert.deepEqual(violations, []);
await browser.close();
process.exit(0);
