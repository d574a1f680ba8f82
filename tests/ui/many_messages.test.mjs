// Another 2000 messages: pages of a list, and a busy overview.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { ago, check, close, displays, message, open, screenshot, post, settled, show } from "./browser.mjs";
import { kinds } from "./message_kinds.mjs";

before(() => {
  const { PAGE_BINARY, PAGE_SETTINGS } = process.env;
  execFileSync(PAGE_BINARY, [
    "--config", PAGE_SETTINGS, "simulate", "--source", "gateway", "--messages", "2000",
    "--api-key-env", "SUPPORT_KEY",
  ]);
});
after(close);

for (const display of displays) {
  test(`many: ${display.width} ${display.colours}`, async () => {
    const opened = await open(display);
    const { page } = opened;
    for (const [name, hash] of [
      ["overview", "#/?hours=168"],
      ["messages-many", "#/messages?status=UNDELIVERED&status=REJECTED"],
      ["health-many", "#/health"],
      ["message", `#/message/${kinds.contradicted[0]}`],
      ["number", `#/search?q=${encodeURIComponent(kinds.undelivered[1])}`],
    ]) {
      await show(page, hash);
      await check(opened, `${name} ${display.width} ${display.colours}`);
      await screenshot(page, `${name}-${display.width}-${display.colours}`);
    }
    await opened.context.close();
  });
}

test("a list goes on from page to page without loss", async () => {
  const { page, context, unexpected } = await open();
  await show(page, "#/messages?code=30003");
  const seen = new Set();
  let listed = 0;
  for (;;) {
    const links = await page.locator("table.messages tbody a").evaluateAll((all) => all.map((link) => link.href));
    listed += links.length;
    links.forEach((link) => seen.add(link));
    const next = page.locator("a[rel=next]");
    if ((await next.count()) === 0) break;
    const previous = page.url();
    await next.click();
    await page.waitForURL((current) => current.href !== previous);
    await settled(page);
  }
  assert.equal(seen.size, listed, "no message is listed twice");
  assert.ok(listed > 100, `${listed} messages`);
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("older entries of a timeline are shown on request, in the order of arrival", async () => {
  const id = "eeeeeeee-0000-4000-8000-00000000000f";
  for (let number = 0; number < 230; number += 1) {
    const provider = { name: "N", id: "x", status: `entry ${number}.`, code: "0" };
    await post(message(id, "+393330000098", 600, { status: "SENT", statusChangedAt: ago(500 - number), provider }));
  }
  const { page, context, unexpected } = await open();
  await show(page, `#/message/${id}`);
  const entries = page.locator(".timeline .event");
  for (const [count, note] of [[100, /130 older/], [200, /30 older/]]) {
    assert.equal(await entries.count(), count);
    assert.match(await page.locator(".older").innerText(), note);
    await page.getByRole("button", { name: "Show older entries" }).click();
    await page.waitForFunction((before) => document.querySelectorAll(".timeline .event").length > before, count);
  }
  const numbers = await entries.evaluateAll((all) => all.map((entry) => Number(/entry (\d+)\./.exec(entry.textContent)[1])));
  assert.deepEqual(numbers, [...Array(230).keys()]);
  assert.equal(await page.locator(".older").count(), 0);
  assert.deepEqual(unexpected(), []);
  await context.close();
});
