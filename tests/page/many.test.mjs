// Two thousand messages more: pages of a list, and a busy overview.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { check, close, looks, open, picture, settled, show } from "./browser.mjs";
import { kinds } from "./kinds.mjs";

before(() => {
  const { PAGE_BINARY, PAGE_SETTINGS } = process.env;
  execFileSync(PAGE_BINARY, [
    "--config", PAGE_SETTINGS, "simulate", "--source", "gateway", "--messages", "2000",
    "--api-key-env", "SUPPORT_KEY",
  ]);
});
after(close);

for (const look of looks) {
  test(`many: ${look.width} ${look.colours}`, async () => {
    const opened = await open(look);
    const { page } = opened;
    for (const [name, hash] of [
      ["overview", "#/?hours=168"],
      ["messages-many", "#/messages?status=UNDELIVERED&status=REJECTED"],
      ["health-many", "#/health"],
      ["message", `#/message/${kinds.contradicted[0]}`],
      ["number", `#/search?q=${encodeURIComponent(kinds.undelivered[1])}`],
    ]) {
      await show(page, hash);
      await check(opened, `${name} ${look.width} ${look.colours}`);
      await picture(page, `${name}-${look.width}-${look.colours}`);
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
    const before = page.url();
    await next.click();
    await page.waitForURL((now) => now.href !== before);
    await settled(page);
  }
  assert.equal(seen.size, listed, "no message twice");
  assert.ok(listed > 100, `${listed} messages`);
  assert.deepEqual(unexpected(), []);
  await context.close();
});
