// Filters of the list: conversion between the form and the address, and download of the messages as CSV.

import { ask } from "./ask.js";

// Media query of the screens that open filters would fill.
const NARROW_SCREEN_QUERY = "(max-width: 40rem)";

export function prepare(form, query) {
  form.closest("details").open = Boolean(query) || !matchMedia(NARROW_SCREEN_QUERY).matches;
  for (const input of form.querySelectorAll("input[data-time]")) {
    if (input.dataset.time) input.value = local(new Date(input.dataset.time));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const filters = chosenFilters(form);
    location.hash = filters ? `#/messages?${filters}` : "#/messages";
  });
  const status = form.querySelector("#csv-status");
  form.querySelector("#csv").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await save(query, (text) => (status.textContent = text));
    } catch (error) {
      status.textContent = `Not downloaded: ${error.message}`;
    }
    button.disabled = false;
  });
}

function chosenFilters(form) {
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

async function save(query, setStatus) {
  const filters = new URLSearchParams(query);
  filters.delete("cursor");
  filters.delete("count");
  setStatus("Downloading…");
  const answer = await ask(`api/messages.csv?${filters}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "messages.csv";
  link.click();
  URL.revokeObjectURL(link.href);
  setStatus("Downloaded.");
}
