// Listens to the changes of all messages, as server-sent events. The browser's own way to do so cannot send
// a key.

import { Refused, ask } from "./ask.js";

// How long to wait before coming again, in milliseconds: at first, and at most.
const WAIT = 1000;
const LONGEST_WAIT = 15000;

// Hands each change over, and says in words how it stands; returns when it was told to stop, and fails if the
// key is not taken.
export async function listen({ signal, change, state }) {
  let last;
  let wait = WAIT;
  while (!signal.aborted) {
    try {
      const headers = last === undefined ? {} : { "Last-Event-ID": last };
      const answer = await ask("api/events", { signal, headers });
      state("Connected.");
      wait = WAIT;
      for await (const event of events(answer.body)) {
        if (event.id !== undefined) last = event.id;
        if (event.name === "change") change(JSON.parse(event.data));
        if (event.name === "end") break;
      }
      state("The connection ended; coming again…");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 403) throw error;
      // The server has another past than the one that was listened to.
      if (error instanceof Refused && error.status === 400) last = undefined;
      state(`${error instanceof Refused ? error.message : "The connection broke."} Coming again…`);
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

function pause(time, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

// The events of a stream of bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) yield event(block);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function event(block) {
  const found = { name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "id") found.id = value;
    if (field === "event") found.name = value;
    if (field === "data") found.data += value;
  }
  return found;
}
