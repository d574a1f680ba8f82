// The filters of the list: to and from the address, and what they find as CSV.

import { ask } from "./ask.js";

// Where the filters would fill the screen.
const NARROW = "(max-width: 40rem)";

export function prepare(form, query) {
  form.closest("details").open = Boolean(query) || !matchMedia(NARROW).matches;
  for (const input of form.querySelectorAll("input[data-time]")) {
    if (input.dataset.time) input.value = local(new Date(input.dataset.time));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const filters = chosen(form);
    location.hash = filters ? `#/messages?${filters}` : "#/messages";
  });
  const said = form.querySelector("#csv-said");
  form.querySelector("#csv").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await save(query, (words) => (said.textContent = words));
    } catch (error) {
      said.textContent = `Not downloaded: ${error.message}`;
    }
    button.disabled = false;
  });
}

function chosen(form) {
  const filters = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (!value) continue;
    const isTime = name === "from" || name === "to";
    filters.append(name, isTime ? new Date(value).toISOString() : value);
  }
  return filters.toString();
}

// As the input has it: a time of day without a zone, which is the reader's.
function local(time) {
  const shifted = new Date(time.getTime() - time.getTimezoneOffset() * 60000);
  return shifted.toISOString().slice(0, 19);
}

async function save(query, say) {
  const filters = new URLSearchParams(query);
  filters.delete("cursor");
  filters.delete("count");
  filters.set("format", "csv");
  say("Downloading…");
  const answer = await ask(`api/messages?${filters}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "messages.csv";
  link.click();
  URL.revokeObjectURL(link.href);
  say("Downloaded.");
}
