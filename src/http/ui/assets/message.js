// Long parts of a message, loaded on request: older entries of the timeline, and the history as JSON.

import { ask } from "./ask.js";
import * as times from "./times.js";

export function prepare(within, { signal, announce }) {
  for (const button of within.querySelectorAll("button[data-older]")) {
    const older = () => showOlder(button, { signal, announce });
    button.addEventListener("click", () => load(button, older, announce));
  }
  const box = within.querySelector("#raw-box");
  if (!box) return;
  const copy = box.querySelector("button[data-copy=raw]");
  box.addEventListener("toggle", () => {
    if (box.open && copy.disabled) load(box, () => showHistory(box, copy, signal), announce);
  });
}

// Runs `action`, unless it is already running for this element. Announces the reason of a failure.
async function load(element, action, announce) {
  if (element.dataset.busy) return;
  element.dataset.busy = "true";
  announce("Loading…");
  try {
    await action();
  } catch (error) {
    if (error.name !== "AbortError") announce(`Not loaded: ${error.message}`);
  } finally {
    delete element.dataset.busy;
  }
}

// Adds older entries to the timeline. The server made the fragment and escaped all external text in it.
async function showOlder(button, { signal, announce }) {
  const answer = await ask(button.dataset.older, { signal });
  const fragment = document.createRange().createContextualFragment(await answer.text());
  times.rewrite(fragment);
  const note = button.closest(".older");
  const entries = [...fragment.querySelector(".timeline").children];
  note.parentElement.querySelector(".timeline").prepend(...entries);
  const next = fragment.querySelector(".older");
  if (next) {
    note.replaceWith(next);
    prepare(next, { signal, announce });
    next.querySelector("button").focus();
  } else {
    note.remove();
  }
  announce(`${entries.length} older entries are shown.`);
}

async function showHistory(box, copy, signal) {
  const answer = await ask(box.dataset.history, { signal });
  box.querySelector("#raw").textContent = await answer.text();
  copy.disabled = false;
}
