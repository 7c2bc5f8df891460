/* The list: only the cells with state, engine, memory, requests and buttons are swapped, so that ticked boxes stay.
   A row that has left the list (the filter, or the portal) keeps its place, says so and has nothing to press.
   Needs live.js. */
"use strict";

const CELLS = ["state", "engine", "memory", "requests", "row_buttons"].map((name) => `.field-${name}`);
const FIGURES = ".chips b, #slots-line";

function swapCell(old, children) {
  const focused = old.contains(document.activeElement);
  old.replaceChildren(...children);
  if (focused) (old.querySelector("button, a") || old.closest("tr").querySelector("a"))?.focus({ preventScroll: true });
}

function follow(row, fresh) {
  for (const cell of CELLS) {
    const now = fresh.querySelector(cell), old = row.querySelector(cell);
    if (now && old && now.innerHTML !== old.innerHTML) swapCell(old, now.childNodes);
  }
}

function leave(row) {
  const words = document.createElement("span");
  words.className = "why";
  words.textContent = "No longer in this list.";
  for (const cell of CELLS) swapCell(row.querySelector(cell), cell === ".field-state" ? [words] : []);
}

/** A row that is not in the list cannot be ticked; Django's own counter hears of the click. */
function setTickable(row, isTickable) {
  const tick = row.querySelector("input.action-select");
  if (!tick) return;
  if (!isTickable && tick.checked) tick.click();
  tick.disabled = !isTickable;
}

for (const box of document.querySelectorAll("[data-live-rows]")) {
  const byLink = (root) => new Map([...root.querySelectorAll("#result_list tbody tr")].map(
    (row) => [row.querySelector(".field-model_name a")?.getAttribute("href") || row.querySelector(".field-model_name")?.textContent, row]));
  poll(async () => {
    const found = await fetchFragments(box.dataset.liveRows, box);
    if (found) {
      etags.set(box, found.etag);
      sayChanges(states(box), states(found.fresh.body.firstElementChild));
      const figures = found.fresh.querySelectorAll(FIGURES);
      document.querySelectorAll(FIGURES).forEach((figure, i) => { figure.textContent = figures[i]?.textContent ?? figure.textContent; });
      const fresh = byLink(found.fresh);
      for (const [link, row] of byLink(box)) {
        const now = fresh.get(link);
        row.classList.toggle("quiet", !now);
        setTickable(row, Boolean(now));
        if (now) follow(row, now);
        else leave(row);
      }
    }
    return Boolean(box.querySelector(MOVING));
  }, () => box.querySelector(":active"));
}
