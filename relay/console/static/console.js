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
  // Nobody reads news in a tab that is not seen.
  if (document.hidden && event.detail.requestConfig.verb === "get") event.preventDefault();
});
