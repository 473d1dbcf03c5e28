"use strict";
// Tables: the button in the head of a column sorts by it, pressed again in reverse; rows without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const text = head.classList.contains("text");
    const rise = head.getAttribute("aria-sort") === (text ? "ascending" : "descending") ? !text : text;
    const key = row => {
      const value = row.cells[column].dataset.value ?? row.cells[column].textContent;
      return text ? value : value === "" ? NaN : Number(value);
    };
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => text ? (rise ? 1 : -1) * a.localeCompare(b, "en", { numeric: true })
      : Number.isNaN(a) - Number.isNaN(b) || (rise ? a - b : b - a) || 0);
    body.append(...rows.map(([, row]) => row));
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rise ? "ascending" : "descending");
  }));
}
const data = document.getElementById("browser-data");
if (data) {
  const { options, loci } = JSON.parse(data.textContent);
  const choice = document.getElementById("locus"), about = document.getElementById("about-locus");
  const tell = () => { about.textContent = loci[choice.value].about; };
  tell();
  igv.createBrowser(document.getElementById("browser"), options).then(browser => {
    choice.addEventListener("change", () => { tell(); browser.search(loci[choice.value].view); });
    window.browser = browser;
  }).catch(error => { about.textContent = `The browser could not start: ${error.message ?? error}`; throw error; });
}
