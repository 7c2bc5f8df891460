/* The list: only the cells with state, engine, memory, requests and buttons are swapped, so that ticked boxes stay.
   Needs live.js. */
"use strict";

const CELLS = ["state", "engine", "memory", "requests", "row_buttons"].map((name) => `.field-${name}`);

for (const box of document.querySelectorAll("[data-live-rows]")) {
  const byLink = (root) => new Map([...root.querySelectorAll("#result_list tbody tr")].map(
    (row) => [row.querySelector(".field-model_name a")?.getAttribute("href") || row.querySelector(".field-model_name")?.textContent, row]));
  poll(async () => {
    const found = await fetchFragment(box.dataset.liveRows, box);
    if (found) {
      etags.set(box, found.etag);
      sayChanges(states(box), states(found.fresh));
      const chips = found.fresh.querySelectorAll(".chips b");
      document.querySelectorAll(".chips b").forEach((count, i) => { count.textContent = chips[i]?.textContent ?? count.textContent; });
      const fresh = byLink(found.fresh);
      for (const [link, row] of byLink(box)) {
        for (const cell of CELLS) {
          const now = fresh.get(link)?.querySelector(cell), old = row.querySelector(cell);
          if (!now || !old || now.innerHTML === old.innerHTML) continue;
          const focused = old.contains(document.activeElement);
          old.replaceChildren(...now.childNodes);
          if (focused) old.querySelector("button, a")?.focus({ preventScroll: true });
        }
      }
    }
    return Boolean(box.querySelector(MOVING));
  }, () => box.querySelector(":active"));
}
