// Browser that records forbidden actions of the page, and checks for every view.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const tools = process.env.PAGE_TOOLS;
const { chromium } = createRequire(path.join(tools, "package.json"))("playwright-core");
const axe = createRequire(path.join(tools, "package.json"))("axe-core");

export const url = process.env.PAGE_URL;
export const key = process.env.SUPPORT_KEY;
const token = process.env.GATEWAY_TOKEN;

/** Displays to test: width of the window in pixels, and colour scheme. */
export const displays = [360, 768, 1440].flatMap((width) =>
  ["light", "dark"].map((colours) => ({ width, colours })),
);

const browser = await chromium.launch({ executablePath: process.env.PAGE_BROWSER, args: ["--no-sandbox"] });

export const close = () => browser.close();

/** Opens a page with its own session, which records errors and forbidden requests. */
export async function open({ width = 1440, colours = "light" } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: width < 600 ? 780 : 900 },
    colorScheme: colours,
    locale: "en-GB",
    timezoneId: "Europe/Rome",
    reducedMotion: "reduce",
    acceptDownloads: true,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const errors = [];
  /** Patterns of the errors that a test provokes on purpose. */
  const expected = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => errors.push(`error: ${error.message}`));
  context.on("request", (request) => {
    const target = new URL(request.url());
    if (target.protocol !== "blob:" && target.origin !== url) errors.push(`request to ${target.origin}`);
    if (request.url().includes(key)) errors.push("the key is in a URL");
  });
  const unexpected = () => errors.filter((text) => !expected.some((pattern) => pattern.test(text)));
  return { context, page, expected, unexpected };
}

/** Shows a view, and signs in if necessary. */
export async function show(page, hash) {
  await page.goto(`${url}/${hash}`);
  const field = page.getByLabel("API key");
  const heading = page.locator("main h1");
  await field.or(heading).first().waitFor();
  if (await field.isVisible()) {
    await field.fill(key);
    await field.press("Enter");
  }
  await settled(page);
}

/** Waits until the view is shown. */
export async function settled(page) {
  await page.waitForFunction(() => {
    const main = document.querySelector("main");
    return history.state?.seen && !main.hasAttribute("aria-busy") && main.querySelector("h1");
  });
}

/** Checks a view for accessibility, overflow to the right and unexpected errors. */
export async function check({ page, unexpected }, name) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }),
  );
  const descriptions = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(descriptions, [], `${name}: accessibility`);
  const overflow = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth - clientWidth;
  });
  assert.ok(overflow <= 0, `${name}: ${overflow} pixels to the right of the window`);
  assert.deepEqual(unexpected(), [], name);
}

/** Writes a screenshot of a view to the folder `pictures`. */
export const screenshot = (page, name) =>
  page.screenshot({ path: path.join(tools, "pictures", `${name}.png`), fullPage: true });

/** Posts a webhook about a message. */
export async function post(message) {
  const answer = await fetch(`${url}/webhooks/gateway?token=${token}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id: crypto.randomUUID(), type: "STATUS_UPDATE", message }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** Time `seconds` before now, in the format of a webhook. */
export const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

/** Message that was accepted `accepted` seconds ago, with further `fields`. */
export const message = (id, destination, accepted, fields) => ({
  id,
  destination,
  channel: "SMS",
  providerAcceptanceAt: ago(accepted),
  reference: { service: "SHOP", action: "AUTH", key: `order-${id.slice(0, 4)}` },
  provider: { name: "MITTO", id: `m-${id}`, status: "ok", code: "0" },
  sms: { segments: 1 },
  ...fields,
});
