// Sign-in, and display of the view that the part of the address after `#` names. Destinations and keys are
// never before the `#`, so that the page's own address tells them to no server.

import { RequestError, ask, clearKey, key, storeKey } from "./ask.js";
import * as copies from "./copy.js";
import * as filters from "./filters.js";
import * as live from "./live.js";
import * as message from "./message.js";
import * as times from "./times.js";

const find = (id) => document.getElementById(id);
const main = find("main");
const box = find("q");
// Delay before loading is announced, in milliseconds. Views that load sooner are not announced.
const LOADING_NOTICE_DELAY_MS = 300;
// Scroll position of each view, in pixels.
const scrollPositions = new Map();
let viewAbort = new AbortController();
let shownHash;

function announce(text) {
  find("announcement").textContent = text;
}

// Path and query after the `#` of the address.
function requestedView() {
  const hash = location.hash.replace(/^#/, "");
  const text = hash.startsWith("/") ? hash : "/";
  const [path, ...rest] = text.split("?");
  return { path, query: rest.join("?") };
}

function address({ path, query }) {
  if (path !== "/") return `ui${path}${query ? `?${query}` : ""}`;
  const all = new URLSearchParams(query);
  all.set("offset", times.offset());
  const { paddingLeft, paddingRight } = getComputedStyle(main);
  const width = main.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  all.set("width", Math.max(0, Math.round(width)));
  return `ui/overview?${all}`;
}

async function show({ focus = true } = {}) {
  viewAbort.abort();
  viewAbort = new AbortController();
  const { signal } = viewAbort;
  if (!key()) return signIn("");
  setSignedIn(true);
  const view = requestedView();
  markCurrentLink(view);
  main.setAttribute("aria-busy", "true");
  const noticeTimer = setTimeout(() => announce("Loading…"), LOADING_NOTICE_DELAY_MS);
  try {
    const answer = await ask(address(view), { signal });
    const html = await answer.text();
    if (signal.aborted) return;
    fill(html, view, signal, focus);
  } catch (error) {
    if (signal.aborted) return;
    showError(error);
  } finally {
    clearTimeout(noticeTimer);
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

// Shows a view and prepares its elements. The server made the fragment and escaped all external text
// in it.
function fill(html, view, signal, focus) {
  const fragment = document.createRange().createContextualFragment(html);
  main.replaceChildren(fragment);
  times.rewrite(main);
  copies.prepare(main, announce);
  message.prepare(main, { signal, announce });
  const form = main.querySelector("#filters");
  if (form) filters.prepare(form, view.query);
  if (view.path === "/live") live.start(main, { signal, denied: showError });
  finishView(focus);
}

// Sets the title, the focus and the scroll position for the shown view.
function finishView(focus) {
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} · statusmirror` : "statusmirror";
  announce("");
  const back = history.state?.seen;
  history.replaceState({ seen: true }, "");
  shownHash = location.hash;
  if (focus && heading) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  window.scrollTo(0, (back && scrollPositions.get(shownHash)) || 0);
}

function markCurrentLink({ path, query }) {
  for (const link of find("views").querySelectorAll("a")) {
    const target = link.getAttribute("href").slice(1);
    if (target === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  box.value = path === "/search" ? new URLSearchParams(query).get("q") ?? "" : "";
}

function setSignedIn(isSignedIn) {
  for (const id of ["search", "views", "sign-out"]) find(id).hidden = !isSignedIn;
}

function signIn(reason) {
  viewAbort.abort();
  setSignedIn(false);
  main.removeAttribute("aria-busy");
  main.replaceChildren(find("sign-in-view").content.cloneNode(true));
  document.title = "Sign in · statusmirror";
  const input = find("key");
  find("sign-in-error").textContent = reason;
  find("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(text)) {
      find("sign-in-error").textContent = "That is no key: a key has no spaces and plain letters only.";
      return;
    }
    storeKey(text);
    show();
  });
  input.focus();
}

function showError(error) {
  if (error instanceof RequestError && error.status === 403) {
    clearKey();
    signIn(`The key was not taken. ${error.message}`);
    return;
  }
  const { status = -1 } = error;
  if (status === 429) clearKey();
  const headings = {
    0: "No answer",
    400: "That cannot be asked",
    404: "There is no such view",
    429: "Too many attempts",
    503: "Not just now",
  };
  const view = find("error-view").content.cloneNode(true);
  view.querySelector("h1").textContent = headings[status] ?? "Something went wrong";
  view.querySelector("p").textContent = status < 0 ? `The page failed: ${error.message}` : error.message;
  view.querySelector("button").addEventListener("click", () => show());
  main.replaceChildren(view);
  main.removeAttribute("aria-busy");
  finishView(true);
  announce(error.message);
}

function isField(element) {
  return element.matches("input, textarea, select, [contenteditable]");
}

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  const hash = `#/search?${new URLSearchParams({ q: text })}`;
  if (location.hash === hash) show();
  else location.hash = hash;
});

find("sign-out").addEventListener("click", () => {
  clearKey();
  signIn("");
});

find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !isField(event.target) && !find("search").hidden) {
    event.preventDefault();
    box.focus();
    box.select();
  }
  if (event.key === "Escape" && event.target === box) main.focus();
});

history.scrollRestoration = "manual";
window.addEventListener("hashchange", () => {
  if (shownHash !== undefined && shownHash !== location.hash) scrollPositions.set(shownHash, window.scrollY);
  show();
});
show({ focus: false });
