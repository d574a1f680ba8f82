// Listener to the changes of all messages, as server-sent events. The browser's own `EventSource` cannot send
// a key.

import { RequestError, ask } from "./ask.js";

// First and longest delay before a reconnection, in milliseconds.
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 15000;

// Passes each change to `change`, and the state of the connection, in words, to `state`. Returns when
// `signal` is aborted. Throws if the server rejects the key.
export async function listen({ signal, change, state }) {
  let last;
  let retryDelay = MIN_RETRY_MS;
  while (!signal.aborted) {
    try {
      const headers = last === undefined ? {} : { "Last-Event-ID": last };
      const answer = await ask("api/events", { signal, headers });
      state("Connected.");
      retryDelay = MIN_RETRY_MS;
      for await (const event of events(answer.body)) {
        if (event.id !== undefined) last = event.id;
        if (event.name === "change") change(JSON.parse(event.data));
        if (event.name === "end") break;
      }
      state("The connection ended; coming again…");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof RequestError && error.status === 403) throw error;
      // The server's database has another history, in which the id of the last event is invalid.
      if (error instanceof RequestError && error.status === 400) last = undefined;
      state(`${error instanceof RequestError ? error.message : "The connection broke."} Coming again…`);
    }
    await pause(retryDelay, signal);
    retryDelay = Math.min(retryDelay * 2, MAX_RETRY_MS);
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

// Events of a byte stream: https://html.spec.whatwg.org/multipage/server-sent-events.html
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
  const parsed = { name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "id") parsed.id = value;
    if (field === "event") parsed.name = value;
    if (field === "data") parsed.data += value;
  }
  return parsed;
}
