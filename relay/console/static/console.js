// What a script adds to pages that work without one.
document.addEventListener("htmx:beforeSwap", (event) => {
  // A refusal in words belongs where the answer was expected.
  if ([409, 422].includes(event.detail.xhr.status)) event.detail.shouldSwap = true;
});
let opened = [];
document.addEventListener("htmx:beforeSwap", () => {
  // What somebody has opened stays open when the page looks again by itself.
  opened = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
});
document.addEventListener("htmx:afterSettle", () => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
});
document.addEventListener("htmx:beforeRequest", (event) => {
  // Nobody reads news in a tab that is not seen, but its title and icon.
  if (document.hidden && event.detail.requestConfig.verb === "get" && event.target.id !== "bands") event.preventDefault();
});
let bands;
document.addEventListener("htmx:beforeSwap", (event) => {
  // What has not changed is not read aloud again.
  if (event.target.id !== "bands" || !event.detail.shouldSwap) return;
  event.detail.shouldSwap = event.detail.serverResponse !== bands;
  bands = event.detail.serverResponse;
});
document.addEventListener("htmx:afterSettle", () => {
  const { troubles, icon } = document.getElementById("trouble-count")?.dataset ?? {};
  if (!icon) return;
  document.title = (troubles === "0" ? "" : `(${troubles}!) `) + document.title.replace(/^\(\d+!\) /, "");
  document.querySelector("link[rel=icon]").href = icon;
});

// Single keys, for who has not turned them off under My account.
const PLACES = { c: "/chats", d: "/deliveries", r: "/rules", t: "/destinations", h: "/health" };
let isGoing = false;
const step = (by) => {
  const rows = [...document.querySelectorAll(".row h3 a")];
  const at = rows.indexOf(document.activeElement?.closest(".row")?.querySelector("h3 a"));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next]?.focus();
  // At the end of the list a reader of screens hears where it goes on.
  if (next === at && by > 0) document.querySelector(".more a")?.focus();
};
const ACTS = {
  "/": () => document.querySelector("input[type=search]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  u: () => document.querySelector(".back a")?.click(),
  "?": () => location.assign("/help/keys"),
  Escape: () => document.querySelector(".chips a[href='/chats']")?.click(),
};
document.addEventListener("keydown", (event) => {
  if (document.documentElement.dataset.keys === "off" || event.defaultPrevented) return;
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const field = event.composedPath()[0];
  if (field.closest?.("input, select, textarea, dialog, [contenteditable]") || field.isContentEditable) {
    if (event.key === "Escape" && field.matches("input, select")) field.blur();
    return;
  }
  const place = isGoing && PLACES[event.key];
  isGoing = event.key === "g";
  if (place) location.assign(place);
  else if (ACTS[event.key]) {
    event.preventDefault();
    ACTS[event.key]();
  }
});
