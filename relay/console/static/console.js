// What a script adds to pages that work without one.
document.addEventListener("htmx:beforeSwap", (event) => {
  // A refusal in words belongs where the answer was expected.
  if ([409, 422].includes(event.detail.xhr.status)) event.detail.shouldSwap = true;
});
