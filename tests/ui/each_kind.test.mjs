// Messages of every kind: the text of the page about each, and the navigation to it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { check, close, key, displays, message, ago, open, screenshot, post, settled, show, url } from "./browser.mjs";
import { kinds, postMessages } from "./message_kinds.mjs";

before(postMessages);
after(close);

const sentence = (page) => page.locator(".answer").innerText();

for (const display of displays) {
  test(`every view: ${display.width} ${display.colours}`, async () => {
    const opened = await open(display);
    const { page } = opened;
    const views = [
      ["overview", "#/"],
      ["overview-week", "#/?hours=168"],
      ["messages", "#/messages"],
      ["live", "#/live"],
      ["health", "#/health"],
      ["number", `#/search?q=${encodeURIComponent(kinds.contradicted[1])}`],
      ["unknown-number", "#/search?q=%2B393339999999"],
      ["national", "#/search?q=0333+1234567"],
      ["unknown-key", "#/search?q=no-such-key"],
      ["unknown-message", "#/message/00000000-0000-4000-8000-000000000000"],
      ...Object.entries(kinds).map(([kind, [id]]) => [kind, `#/message/${id}`]),
    ];
    for (const [name, hash] of views) {
      await show(page, hash);
      await check(opened, `${name} ${display.width} ${display.colours}`);
      await screenshot(page, `${name}-${display.width}-${display.colours}`);
    }
    await opened.context.close();
  });
}

test("the messages are told apart, and each says what to do", async () => {
  const { page, context, unexpected } = await open();
  for (const [kind, words] of Object.entries({
    rejected: [/refused|rejected/i, /never sent|not sent/i, /opted out/, /21610/],
    undelivered: [/sent/i, /did not (arrive|reach)/i, /unreachable/, /again/i],
    late: [/deliver/i, /late/i],
    contradicted: [/deliver/i, /fail/i, /receipt|evidence/i],
    denied: [/deliver/i, /fail/i],
    sent: [/on (its|the) way|sent/i, /wait/i],
    forgotten: [/days/i],
    read: [/read/i],
    impossible: [/does not count/],
    registered: [/registered/, /no provider has said anything/],
  })) {
    await show(page, `#/message/${kinds[kind][0]}`);
    const text = await page.locator("main").innerText();
    for (const word of words) assert.match(text, word, `${kind}: ${text}`);
  }
  const sentences = new Set();
  for (const kind of ["rejected", "undelivered", "late", "contradicted"]) {
    await show(page, `#/message/${kinds[kind][0]}`);
    sentences.add((await sentence(page)).replace(/[0-9:]+/g, ""));
  }
  assert.equal(sentences.size, 4, "each kind has a sentence of its own");
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("one paste into the box leads to the sentence, however the number is written", async () => {
  const opened = await open();
  const { page } = opened;
  const [id, number] = kinds.undelivered;
  await show(page, "#/");
  for (const typed of [number, "+39 333 000-0002", "0039 333 0000002", "393330000002", id.toUpperCase(), "order-2222"]) {
    await page.keyboard.press("/");
    const searchBox = page.getByRole("searchbox");
    assert.ok(await searchBox.evaluate((element) => element === document.activeElement), "/ moves the focus to the search box");
    await searchBox.fill(typed);
    await page.keyboard.press("Enter");
    await page.locator("#sentence").waitFor();
    await settled(page);
    assert.match(await page.locator("main").innerText(), /unreachable/, typed);
    await show(page, "#/health");
  }
  await page.goBack();
  await settled(page);
  assert.match(await page.locator("main").innerText(), /unreachable/, "after going back");
  assert.deepEqual(opened.unexpected(), []);
  await opened.context.close();
});

test("a number of which nothing is known says what that means", async () => {
  const { page, context } = await open();
  await show(page, "#/search?q=%2B393339999999");
  const text = await page.locator("main").innerText();
  assert.match(text, /does not mean that nothing was sent/);
  await page.getByRole("link", { name: /no number/ }).click();
  await page.locator("h1", { hasText: "Messages" }).waitFor();
  await settled(page);
  assert.match(page.url(), /destination=without/);
  assert.match(await page.locator("main").innerText(), /no number/);
  await show(page, "#/search?q=0333+1234567");
  assert.match(await page.locator("main").innerText(), /\+39/);
  await context.close();
});

test("times are the reader's, with the zone named, and in UTC on demand", async () => {
  const { page, context } = await open();
  await show(page, `#/message/${kinds.read[0]}`);
  const time = page.locator("main time").first();
  assert.match(await time.textContent(), /CET|CEST|GMT\+/);
  assert.match(await time.getAttribute("title"), /UTC$/);
  await context.close();
});

test("what came from outside is shown as text", async () => {
  const { page, context, unexpected } = await open();
  await show(page, `#/message/${kinds.long[0]}`);
  assert.equal(await page.locator("main img").count(), 0);
  assert.match(await page.locator("main").innerText(), /<img src=x onerror=alert\(1\)>/);
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("a list is filtered, shared as an address, and downloaded", async () => {
  const { page, context, unexpected } = await open();
  await show(page, "#/messages");
  await page.getByRole("checkbox", { name: /Rejected/i }).check();
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL(/status=REJECTED/);
  await settled(page);
  const rows = page.locator("table.messages tbody tr");
  assert.equal(await rows.count(), 1);
  // The URL shows the same list after a reload.
  await page.reload();
  await settled(page);
  assert.equal(await rows.count(), 1);
  assert.ok(await page.getByRole("checkbox", { name: /Rejected/i }).isChecked());
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  let csv = "";
  for await (const part of await download.createReadStream()) csv += part;
  assert.equal(csv.trim().split("\n").length, 2);
  assert.ok(csv.includes(kinds.rejected[0]));
  await rows.getByRole("link").first().click();
  await page.locator("#sentence").waitFor();
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("a bar of the overview leads to its messages", async () => {
  const { page, context, unexpected } = await open();
  await show(page, "#/?hours=24");
  const bar = page.locator("svg a[aria-label*='message']").last();
  await bar.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/messages\?.*from=/);
  await settled(page);
  assert.ok((await page.locator("table.messages tbody tr").count()) > 0);
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("the live tail shows what is stored, and waits when it is told to", async () => {
  const { page, context, unexpected } = await open();
  await show(page, "#/live");
  await page.locator("#live-state", { hasNotText: /connecting/i }).waitFor();
  const postMessage = (number) =>
    post(message(`eeeeeeee-0000-4000-8000-${String(number).padStart(12, "0")}`, "+393330000099", 60, {
      status: "DELIVERED",
      statusChangedAt: ago(1),
    }));
  await postMessage(1);
  const rows = page.locator("#live-rows tr");
  await rows.first().waitFor();
  assert.equal(await rows.count(), 1);
  await page.getByRole("button", { name: /pause/i }).click();
  await postMessage(2);
  await page.locator("#live-state", { hasText: /1/ }).waitFor();
  assert.equal(await rows.count(), 1);
  await page.getByRole("button", { name: /resume/i }).click();
  await rows.nth(1).waitFor();
  assert.deepEqual(unexpected(), []);
  await context.close();
});

test("the raw answer and the command for it are copied", async () => {
  const { page, context } = await open();
  await show(page, `#/message/${kinds.read[0]}`);
  await page.getByText("The same as JSON").click();
  await page.getByRole("button", { name: "Copy JSON" }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const response = await fetch(`${url}/api/messagestatus/${kinds.read[0]}/history`, { headers: { "X-Api-Key": key } });
  assert.deepEqual(JSON.parse(copied), await response.json());
  await page.getByRole("button", { name: "Copy command" }).click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(command.includes(`${url}/api/messagestatus/${kinds.read[0]}/history`), command);
  assert.ok(!command.includes(key), "the command does not contain the key");
  await context.close();
});

test("the quarantine says why, and what to do", async () => {
  const { page, context } = await open();
  await show(page, "#/health");
  const text = await page.locator("main").innerText();
  assert.match(text, /unknown word `LOST_AT_SEA`/);
  assert.match(text, /statusmirror quarantine show/);
  await context.close();
});

test("when the server is gone the page says so, and goes on when it is back", async () => {
  const { page, context } = await open();
  await show(page, "#/messages");
  await context.setOffline(true);
  await page.getByRole("link", { name: "Health" }).click();
  const tryAgain = page.getByRole("button", { name: "Try again" });
  await tryAgain.waitFor();
  await context.setOffline(false);
  await tryAgain.click();
  await page.locator("h1", { hasText: "Health" }).waitFor();
  await context.close();
});

test("everything is reached with the keyboard alone", async () => {
  const { page, context } = await open();
  await show(page, "#/");
  await page.keyboard.press("/");
  await page.keyboard.type(kinds.rejected[1]);
  await page.keyboard.press("Enter");
  await page.locator("#sentence").waitFor();
  const seen = new Set();
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press("Tab");
    seen.add(await page.evaluate(() => document.activeElement.textContent.trim()));
  }
  for (const name of ["Overview", "Messages", "Live", "Health", "Sign out"]) assert.ok(seen.has(name), name);
  await context.close();
});
