// The table of all runs: filtered by its first columns and by the address (?model=...&method=...), sorted by its heads.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const table = document.getElementById("all-runs");
  if (!table) return;
  const form = document.querySelector("form.filters");
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const column = Object.fromEntries(heads.map((head, number) => [head.textContent.trim(), number]));
  const text = (row, number) => row.cells[number].textContent.trim();

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  }

  function filter() {
    const asked = [...form.elements].filter((one) => one.name && one.value);
    for (const row of rows) row.hidden = asked.some((one) => text(row, column[one.name]) !== one.value);
    form.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs`;
  }

  function read() {
    const asked = new URLSearchParams(location.search);
    for (const select of form.querySelectorAll("select")) {
      select.value = asked.get(select.name) ?? "";
      if (select.selectedIndex < 0) select.value = "";
    }
    filter();
  }

  function sort(head, number) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const empty = (row) => text(row, number) === "";
    rows.sort((a, b) => compare(text(a, number), text(b, number)) * (down && !empty(a) && !empty(b) ? -1 : 1));
    table.tBodies[0].append(...rows);
  }

  for (const select of form.querySelectorAll("select")) {
    const values = [...new Set(rows.map((row) => text(row, column[select.name])))].sort(compare);
    select.append(...values.map((value) => new Option(value, value)));
  }
  heads.forEach((head, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent.trim();
    button.addEventListener("click", () => sort(head, number));
    head.replaceChildren(button);
  });
  form.hidden = false;
  form.addEventListener("change", () => {
    const asked = [...new FormData(form)].filter(([, value]) => value);
    history.replaceState(null, "", asked.length ? `?${new URLSearchParams(asked)}` : location.pathname);
    filter();
  });
  read();
});

// One tab stop for a table of numbers; arrows go from number to number.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table")) {
    const links = [...table.querySelectorAll("a.measured")];
    links.forEach((link, number) => (link.tabIndex = number ? -1 : 0));
    table.addEventListener("keydown", (event) => {
      const from = event.target.closest("a.measured");
      const next = from && neighbour(links, from, event.key);
      if (!next) return;
      event.preventDefault();
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  function neighbour(links, from, key) {
    const at = links.indexOf(from);
    if (key === "ArrowRight") return links[at + 1];
    if (key === "ArrowLeft") return links[at - 1];
    const cell = from.closest("td, th");
    const below = { ArrowDown: links.slice(at + 1), ArrowUp: links.slice(0, at).reverse() }[key] ?? [];
    return below.find((link) => link.closest("td, th").cellIndex === cell.cellIndex);
  }
});
