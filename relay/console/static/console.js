// What a script adds to pages that work without one.
document.addEventListener("htmx:beforeSwap", (event) => {
  // A refusal in words belongs where the answer was expected.
  if ([409, 422].includes(event.detail.xhr.status)) event.detail.shouldSwap = true;
});
// A part that looks again by itself does nothing to what somebody presses or has selected, and does not repeat what it has said.
let isHeld = false;
for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
  document.addEventListener(name, (event) => (isHeld = (event.buttons & 1) === 1), true);
document.addEventListener("keydown", (event) => (isHeld ||= event.key === " "), true);
document.addEventListener("keyup", () => (isHeld = false), true);
const shown = new Map();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { elt, target, serverResponse } = detail;
  if (!detail.shouldSwap || !elt.matches("[hx-trigger*=every]")) return;
  const parts = [target, ...document.querySelectorAll(elt.getAttribute("hx-select-oob") ?? "#trouble-count")];
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && parts.some((part) => selection.containsNode(part, true));
  detail.shouldSwap = !isHeld && !isSelected && serverResponse !== shown.get(elt.id);
  if (detail.shouldSwap) shown.set(elt.id, serverResponse);
});
// Who has come to a link or button by keys stays at its successor.
const CONTROLS = "a, button, summary";
let leave = () => {};
document.addEventListener("htmx:beforeSwap", () => {
  const old = document.activeElement;
  const part = old.parentElement?.closest("[id]");
  const place = part ? [...part.querySelectorAll(CONTROLS)].indexOf(old) : -1;
  leave = () => {
    if (place < 0 || old.isConnected || document.activeElement !== document.body) return;
    const isLike = (each) => (old.href ? each.href === old.href : each.textContent === old.textContent);
    const now = [...(document.getElementById(part.id)?.querySelectorAll(CONTROLS) ?? [])];
    (now[place] && isLike(now[place]) ? now[place] : now.find(isLike))?.focus({ preventScroll: true });
  };
});
document.addEventListener("htmx:afterSwap", () => leave());
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
for (const name of ["htmx:sendError", "htmx:timeout", "htmx:afterOnLoad"])
  document.addEventListener(name, ({ detail }) => {
    // 0 is no answer at all; the others come from a proxy that has none of the relay.
    const band = document.getElementById("unreachable");
    if (band) band.hidden = ![0, 502, 504].includes(detail.xhr.status);
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
