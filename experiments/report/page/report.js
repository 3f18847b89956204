"use strict";

// ---- theme: as the system has it, light, or dark ----

const THEMES = ["system", "light", "dark"];

function storedTheme() {
  try { return localStorage.getItem("theme") || "system"; } catch { return "system"; } // storage may be forbidden
}

function showTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${name}`;
}

function nextTheme() {
  const name = THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length];
  try { localStorage.setItem("theme", name); } catch { /* then it holds for this view only */ }
  return name;
}

// ---- tables: sorted by the column whose head is pressed, once more for the other direction ----

function compare(a, b, numeric) {
  if (a === "" || b === "") return (a === "") - (b === ""); // empty cells stay last
  return numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
}

function sortTable(head, direction) {
  const table = head.closest("table");
  const body = table.tBodies[0];
  const numeric = head.classList.contains("number");
  const value = (row) => row.cells[head.cellIndex].dataset.value;
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...body.rows].sort((left, right) => {
    const [a, b] = [value(left), value(right)];
    return a === "" || b === "" ? compare(a, b, numeric) : sign * compare(a, b, numeric);
  });
  body.append(...rows);
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
}

function onHead(button) {
  const head = button.closest("th");
  const first = head.classList.contains("number") && head.dataset.key !== "number" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  sortTable(head, head.getAttribute("aria-sort") === first ? other : first);
}

// ---- rows: opened by a link to them, and all before printing ----

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

function setOpen(open) {
  for (const each of document.querySelectorAll("details.row")) each.open = open;
}

// ---- a live page: its content anew, with what the reader has opened and sorted ----

async function refresh() {
  let text;
  try {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    if (!answer.ok) return;
    text = await answer.text();
  } catch { return; } // the server has gone: the last state stays
  const next = new DOMParser().parseFromString(text, "text/html");
  const opened = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
  const sorted = [...document.querySelectorAll(".sortable")].map((table) => {
    const head = table.querySelector("[aria-sort]");
    return [table.id, head.dataset.key, head.getAttribute("aria-sort")];
  });
  const focus = document.activeElement;
  if (focus && focus.closest("main") && focus !== document.body) return; // do not take it from under the reader
  document.querySelector("main").replaceWith(next.querySelector("main"));
  for (const id of opened) { const each = document.getElementById(id); if (each) each.open = true; }
  for (const [id, key, direction] of sorted) {
    const head = document.querySelector(`#${id} th[data-key="${key}"]`);
    if (head) sortTable(head, direction);
  }
  showButtons();
  if (!("refresh" in next.body.dataset)) delete document.body.dataset.refresh;
}

function showButtons() {
  for (const each of document.querySelectorAll("[hidden]")) each.hidden = false;
}

showTheme(storedTheme());
showButtons();
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.id === "theme") showTheme(nextTheme());
  else if (button.dataset.open) setOpen(button.dataset.open === "true");
  else if (button.closest("thead")) onHead(button);
});
addEventListener("hashchange", openTarget);
addEventListener("beforeprint", () => setOpen(true));
openTarget();
if (document.body.dataset.refresh) {
  const timer = setInterval(() => {
    if (document.body.dataset.refresh) refresh();
    else clearInterval(timer);
  }, 1000 * Number(document.body.dataset.refresh));
}
