// What the programs for the console share.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What the browser refused or could not run, in all pages. */
export const violations = [];

// RFC 6238 with SHA-1, six digits, 30 s; `ahead` steps from now.
export function code(base32, ahead = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = "";
  for (const sign of base32.replaceAll(" ", "")) bits += alphabet.indexOf(sign).toString(2).padStart(5, "0");
  const octets = Buffer.from(bits.match(/.{8}/g).map((octet) => Number.parseInt(octet, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + ahead));
  const mac = createHmac("sha1", octets).update(step).digest();
  const offset = mac[19] & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

export const launched = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

export async function opened(browser, { locale = "en-US", dark = false, telephone = false, script = true, state } = {}) {
  const context = await browser.newContext({
    locale,
    colorScheme: dark ? "dark" : "light",
    viewport: telephone ? { width: 390, height: 844 } : { width: 1280, height: 900 },
    isMobile: telephone,
    javaScriptEnabled: script,
    storageState: state,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) violations.push(message.text());
  });
  page.on("pageerror", (error) => violations.push(String(error)));
  return { context, page };
}

/** Takes a picture of a page and has axe look at it. */
export async function pictured(page, path) {
  await page.screenshot({ path, fullPage: true });
  await page.evaluate(axeSource);
  const { violations: found } = await page.evaluate(() => window.axe.run());
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`);
  assert.deepEqual(told, [], `axe: ${path}`);
}
