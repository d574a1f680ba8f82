// Filters of the list: conversion between the form and the address, and download of the messages as CSV.

import { ask } from "./ask.js";

// Media query of the screens that open filters would fill.
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

// Value of a `datetime-local` input: the date and time in the reader's zone, without the zone.
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
