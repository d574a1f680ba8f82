// Live view: each change as a row, newest first, until the reader pauses the view.

import { listen } from "./events.js";
import { element } from "./times.js";

const MOST_ROWS = 200;
const MOST_WAITING = 500;
// Interval between additions of rows, in milliseconds.
const BEAT = 200;
const SVG = "http://www.w3.org/2000/svg";
const WORDS = {
  PROVIDER_ACCEPTANCE: "Accepted",
  SENT: "Sent",
  REJECTED: "Rejected",
  UNDELIVERED: "Undelivered",
  DELIVERED: "Delivered",
  READ: "Read",
};

export function start(within, { signal, denied }) {
  const find = (id) => within.querySelector(`#${id}`);
  const [rows, table, empty, said, button] = [
    "live-rows",
    "live-table",
    "live-empty",
    "live-state",
    "pause",
  ].map(find);
  let waiting = [];
  let dropped = 0;
  let words = "Connecting…";
  let paused = false;

  const say = () => {
    const missed = dropped ? `, and ${dropped} older ones were dropped` : "";
    const text = paused ? `Paused: ${waiting.length} waiting${missed}.` : words;
    if (said.textContent !== text) said.textContent = text;
  };
  const show = () => {
    if (paused || !waiting.length) return;
    const added = waiting.slice(-MOST_ROWS).reverse().map(row);
    waiting = [];
    rows.prepend(...added);
    while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
    table.hidden = false;
    empty.hidden = true;
  };
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    dropped = 0;
    show();
    say();
  });
  const timer = setInterval(() => {
    show();
    say();
  }, BEAT);
  signal.addEventListener("abort", () => clearInterval(timer));
  listen({
    signal,
    change(change) {
      waiting.push(change);
      if (waiting.length > MOST_WAITING) {
        waiting.shift();
        if (paused) dropped += 1;
      }
    },
    state(text) {
      words = text;
    },
  }).catch(denied);
}

function row({ message, previous, corrected }) {
  const line = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `#/message/${message.id}`;
  link.textContent = message.id;
  const was = previous === message.status ? "the same" : WORDS[previous] ?? previous;
  const before = previous ? was : "new";
  const { code, message: text, status } = message.provider;
  const provider = [code, text ?? status].filter(Boolean).join(" ");
  line.append(
    cell("Status", mark(message.status)),
    cell("Before", corrected ? `${before}: corrected` : before),
    cell("Message", link, "id"),
    cell("Reference key", message.reference.key ?? "", "key"),
    cell("Channel", message.channel),
    cell("Provider", provider, "provider"),
    cell("Changed", element(message.statusChangedAt), "when"),
  );
  return line;
}

function cell(label, content, kind) {
  const cell = document.createElement("td");
  cell.dataset.label = label;
  if (kind) cell.className = kind;
  if (content) cell.append(content);
  return cell;
}

function mark(status) {
  const name = (WORDS[status] ?? status).toLowerCase();
  const mark = document.createElement("span");
  mark.className = `status is-${name}`;
  const icon = document.createElementNS(SVG, "svg");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  icon.append(use);
  mark.append(icon, WORDS[status] ?? status);
  return mark;
}
