// Page without any data, and access to it.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { check, close, key, displays, open, screenshot, settled, show, url } from "./browser.mjs";

after(close);

for (const display of displays) {
  test(`nothing is there yet: ${display.width} ${display.colours}`, async () => {
    const opened = await open(display);
    const { page } = opened;
    for (const [hash, heading, command] of [
      ["#/", "Overview", true],
      ["#/messages", "Messages", true],
      ["#/live", "Live", true],
      ["#/health", "Health", false],
    ]) {
      await show(page, hash);
      assert.equal(await page.locator("main h1").first().textContent(), heading);
      if (command) await page.getByText("statusmirror simulate --messages 1000").first().waitFor();
      await check(opened, `${hash} without messages`);
      await screenshot(page, `empty${hash.slice(2)}-${display.width}-${display.colours}`);
    }
    await opened.context.close();
  });
}

test("without a key there is nothing but the form, and the key stays in the session", async () => {
  const opened = await open();
  const { page } = opened;
  opened.expected.push(/403/);
  await page.goto(`${url}/#/messages`);
  const field = page.getByLabel("API key");
  await field.fill("not-a-key");
  await field.press("Enter");
  await page.getByRole("alert").filter({ hasText: /key/i }).waitFor();
  await check(opened, "the sign-in form");
  await field.fill(key);
  await field.press("Enter");
  await settled(page);
  assert.equal(await page.locator("main h1").first().textContent(), "Messages");
  const storage = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]);
  assert.ok(storage[0].includes(key));
  assert.deepEqual(storage.slice(1), ["{}", ""]);
  // The sign-in holds for this tab, until sign-out.
  await page.reload();
  await settled(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await field.waitFor();
  assert.equal(await page.evaluate(() => JSON.stringify(sessionStorage)), "{}");
  const other = await opened.context.newPage();
  await other.goto(`${url}/`);
  await other.getByLabel("API key").waitFor();
  assert.deepEqual(opened.unexpected(), []);
  await opened.context.close();
});
