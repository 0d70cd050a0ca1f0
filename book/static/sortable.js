/* Tables of cells tagged `sortable`: a click on a column's head sorts, fields above choose rows.
   Without JavaScript they are plain tables. */
"use strict";
{
  const SHORT = 40; // characters; a column of longer texts gets no menu, nor does one of numbers

  const text = (cell) => cell.textContent.trim().replace(/\s+/g, " ");
  const collate = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;
  // The number that a cell is, or begins with: -0.016, 0.016 and +0.02 to +0.03.
  const number = (words) => (/^[-+−]?\d*\.?\d+( |$)/.test(words) ? parseFloat(words.replace("−", "-")) : NaN);
  const compare = (a, b) => {
    const difference = number(a) - number(b);
    return Number.isNaN(difference) ? collate(a, b) : difference;
  };

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = element("button", { type: "button" }, text(head));
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        const order = up ? "ascending" : "descending";
        for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
        const sign = up ? 1 : -1;
        const rows = [...body.rows];
        rows.sort((a, b) => sign * compare(text(a.cells[column]), text(b.cells[column])));
        body.append(...rows);
      });
    });
  }

  function makeFilterable(table, container) {
    const rows = [...table.tBodies[0].rows];
    const fields = [];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const values = [...new Set(rows.map((row) => text(row.cells[column])))].sort(compare);
      const repeats = values.length > 1 && 2 * values.length <= rows.length;
      const numbers = values.every((value) => !value || !Number.isNaN(number(value)));
      if (numbers || !repeats || values.some((value) => value.length > SHORT)) return;
      const menu = element("select", {}, new Option("all", ""));
      values.forEach((value) => menu.add(new Option(value, value)));
      fields.push([text(head), menu, (row) => !menu.value || text(row.cells[column]) === menu.value]);
    });
    const words = element("input", { type: "search" });
    fields.push(["search", words, (row) => {
      const all = text(row).toLowerCase();
      return words.value.toLowerCase().split(/\s+/).every((word) => all.includes(word));
    }]);
    const count = element("output");
    function show() {
      const hidden = rows.filter((row) => (row.hidden = !fields.every(([, , keeps]) => keeps(row))));
      count.value = `${rows.length - hidden.length} of ${rows.length} rows`;
    }
    const form = element("form", { className: "table-filter" });
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const [name, field] of fields) form.append(element("label", {}, `${name} `, field));
    form.append(count);
    container.before(form);
    show();
  }

  function enhance() {
    for (const table of document.querySelectorAll(".tag_sortable table")) {
      const container = table.closest(".pst-scrollable-table-container") ?? table;
      makeFilterable(table, container);
      makeSortable(table);
      container.tabIndex = 0; // arrow keys scroll it
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", enhance);
  else enhance();
}
