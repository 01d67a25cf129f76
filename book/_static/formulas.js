// A formula that is wider than its page scrolls, so the keyboard must reach it; no other one is a stop.
const scrolling = () => {
  for (const formula of document.querySelectorAll("mjx-container")) {
    if (formula.scrollWidth > formula.clientWidth && formula.getAttribute("display") === "true") formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
};

window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(scrolling));
window.addEventListener("resize", scrolling);
