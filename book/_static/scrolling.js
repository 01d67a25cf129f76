// A formula or code that is wider than its page scrolls, so the keyboard must reach it; no other one is a stop.
const scrolling = () => {
  for (const wide of document.querySelectorAll("mjx-container, div.highlight pre")) {
    const block = wide.localName === "pre" || wide.getAttribute("display") === "true";
    if (block && wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    else wide.removeAttribute("tabindex");
  }
};

window.addEventListener("load", () => {
  scrolling();
  window.MathJax?.startup?.promise?.then(scrolling);
});
window.addEventListener("resize", scrolling);
