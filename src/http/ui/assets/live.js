// Live view: each change as a row, newest first, until the reader pauses the view.

import { listen } from "./events.js";
import { element } from "./times.js";

// Maximum number of rows in the table.
const MAX_ROWS = 200;
// Maximum number of changes that wait for their rows; older ones are dropped.
const MAX_QUEUED_EVENTS = 500;
// Interval between additions of rows, in milliseconds.
const RENDER_INTERVAL_MS = 200;
const SVG = "http://www.w3.org/2000/svg";
const STATUS_NAMES = {
  PROVIDER_ACCEPTANCE: "Accepted",
  SENT: "Sent",
  REJECTED: "Rejected",
  UNDELIVERED: "Undelivered",
  DELIVERED: "Delivered",
  READ: "Read",
};

export function start(within, { signal, denied }) {
  const find = (id) => within.querySelector(`#${id}`);
  const [rows, table, empty, stateElement, button] = [
    "live-rows",
    "live-table",
    "live-empty",
    "live-state",
    "pause",
  ].map(find);
  let queue = [];
  let dropped = 0;
  let connectionState = "Connecting…";
  let paused = false;

  const updateState = () => {
    const missed = dropped ? `, and ${dropped} older ones were dropped` : "";
    const text = paused ? `Paused: ${queue.length} waiting${missed}.` : connectionState;
    if (stateElement.textContent !== text) stateElement.textContent = text;
  };
  const renderRows = () => {
    if (paused || !queue.length) return;
    const added = queue.slice(-MAX_ROWS).reverse().map(row);
    queue = [];
    rows.prepend(...added);
    while (rows.childElementCount > MAX_ROWS) rows.lastElementChild.remove();
    table.hidden = false;
    empty.hidden = true;
  };
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    dropped = 0;
    renderRows();
    updateState();
  });
  const timer = setInterval(() => {
    renderRows();
    updateState();
  }, RENDER_INTERVAL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  listen({
    signal,
    change(change) {
      queue.push(change);
      if (queue.length > MAX_QUEUED_EVENTS) {
        queue.shift();
        if (paused) dropped += 1;
      }
    },
    state(text) {
      connectionState = text;
    },
  }).catch(denied);
}

function row({ message, previous, corrected }) {
  const line = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `#/message/${message.id}`;
  link.textContent = message.id;
  const was = previous === message.status ? "the same" : STATUS_NAMES[previous] ?? previous;
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
  const name = (STATUS_NAMES[status] ?? status).toLowerCase();
  const mark = document.createElement("span");
  mark.className = `status is-${name}`;
  const icon = document.createElementNS(SVG, "svg");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  icon.append(use);
  mark.append(icon, STATUS_NAMES[status] ?? status);
  return mark;
}
