"use strict";

// --- tables that sort: a button in each header, numbers as numbers, missing ones last ---

const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** What a cell sorts by: data-sort where it is given, a number where the text starts with one, else the text. */
function key(cell) {
  const text = (cell.dataset.sort ?? cell.textContent).trim();
  if (text === "" || text === "–" || text.toLowerCase() === "nan") return null;
  const number = /^[<>≤≥≈]?\s*([+\-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s±*†‡%();…])/i.exec(text);
  return number ? Number(number[1].replace("−", "-").replaceAll(",", "")) : text;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one === "number") return -1;
  if (typeof other === "number") return 1;
  return order.compare(one, other);
}

/** Cells of a header row at the column that each stands over; spans are laid out as the browser does. */
function columnsOf(table) {
  const taken = [];
  const found = [];
  [...table.tHead.rows].forEach((row, line) => {
    let column = 0;
    for (const cell of row.cells) {
      while (taken[line]?.[column]) column += 1;
      for (let down = 0; down < cell.rowSpan; down += 1) {
        taken[line + down] ??= [];
        for (let right = 0; right < cell.colSpan; right += 1) taken[line + down][column + right] = true;
      }
      const last = line + cell.rowSpan === table.tHead.rows.length;
      if (last && cell.colSpan === 1 && cell.textContent.trim()) found.push([cell, column]);
      column += cell.colSpan;
    }
  });
  return found;
}

function makeSortable(table) {
  const bodies = [...table.tBodies];
  const cells = bodies.flatMap((body) => [...body.rows].flatMap((row) => [...row.cells]));
  if (!table.tHead || cells.some((cell) => cell.colSpan > 1 || cell.rowSpan > 1)) return;
  if (Math.max(0, ...bodies.map((body) => body.rows.length)) < 2) return;
  const original = bodies.map((body) => [...body.rows]);
  const headers = columnsOf(table);
  for (const [header, column] of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const numeric = cells.some((cell) => cell.cellIndex === column && typeof key(cell) === "number");
      const turns = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const direction = turns[(turns.indexOf(header.getAttribute("aria-sort")) + 1) % turns.length];
      for (const [other] of headers) other.removeAttribute("aria-sort");
      if (direction) header.setAttribute("aria-sort", direction);
      const sign = direction === "descending" ? -1 : 1;
      bodies.forEach((body, number) => {
        const rows = original[number].map((row) => [row, key(row.cells[column])]);
        if (direction) {
          rows.sort(([, one], [, other]) =>
            one === null || other === null ? (one === null) - (other === null) : sign * compare(one, other));
        }
        body.append(...rows.map(([row]) => row));
      });
    });
  }
}

document.querySelectorAll("main table").forEach(makeSortable);

// --- pictures that open at full size ---

const viewer = document.getElementById("viewer");
const openers = [...document.querySelectorAll("figure .open")];
let shown = 0;

function show(number) {
  shown = (number + openers.length) % openers.length;
  const figure = openers[shown].closest("figure");
  const small = openers[shown].querySelector("img");
  const full = viewer.querySelector("img");
  full.src = small.src;
  full.alt = small.alt;
  viewer.querySelector("h2").textContent = figure.querySelector("figcaption b")?.textContent ?? "";
  viewer.querySelector(".caption").textContent = figure.querySelector(".says")?.textContent ?? "";
  resize(false);
}

function resize(actual) {
  viewer.classList.toggle("actual", actual);
  const button = viewer.querySelector("[data-do=size]");
  button.textContent = actual ? "Fit" : "Actual size";
}

openers.forEach((opener, number) => opener.addEventListener("click", () => {
  show(number);
  viewer.showModal();
}));
if (viewer) {
  const does = {
    close: () => viewer.close(),
    previous: () => show(shown - 1),
    next: () => show(shown + 1),
    size: () => resize(!viewer.classList.contains("actual")),
  };
  viewer.querySelectorAll("[data-do]").forEach((button) =>
    button.addEventListener("click", () => does[button.dataset.do]()));
  viewer.querySelector("img").addEventListener("click", does.size);
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" && !viewer.classList.contains("actual")) does.previous();
    if (event.key === "ArrowRight" && !viewer.classList.contains("actual")) does.next();
  });
  viewer.addEventListener("close", () => openers[shown].focus());
}

// --- blocks to copy ---

document.querySelectorAll(".copy").forEach((block) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = "Copy";
  block.append(button);
  button.addEventListener("click", async () => {
    const text = block.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
});

// --- paper shows everything ---

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
