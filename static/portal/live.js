/* Polling: the [data-live] elements are replaced by the fragments that their address gives, all with one request, so
   that they say the same. Every page is whole without it. A fragment that prints the same is left alone; a hidden tab and a pressed button pause it; failures double the
   pause up to 30 s. A page that is no longer there (logged out, deleted) is loaded again, which says so; one with pictures
   or words in its form says it itself. The list swaps single cells instead, so that ticked boxes stay (rows.js). */
"use strict";

const UNDER_WAY = ["queued", "loading", "restarting", "checking", "unloading"];
const MOVING = `.badge:is(${UNDER_WAY.map((state) => `.${state}`)}), [data-moving]`;
// Moments are printed in the zone of who reads them (portal/browser_zone.py).
const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
document.cookie = `zone=${browserZone}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;

const GONE = "You are logged out, or this is no longer there. Log in in another tab, then go on here.";
const PATIENCE_MS = 15_000; // of a host that is gone without a word the browser would wait for minutes
const etags = new WeakMap();
const lost = document.getElementById("lost");
let isLost = 0, seenAt = new Date();

/** A document with the fragments, or null where nothing has changed. */
async function fetchFragments(address, key) {
  const headers = etags.has(key) ? { "If-None-Match": etags.get(key) } : {};
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(address, { headers, credentials: "same-origin", cache: "no-store", signal });
  if (answer.redirected || [403, 404].includes(answer.status)) {
    if (holdsInput()) throw new Error(GONE);
    location.reload();
    return new Promise(() => {});
  }
  const updated = answer.headers.get("X-Updated");
  if (updated) for (const clock of document.querySelectorAll("[data-clock]")) clock.textContent = `Updated ${updated}`;
  if (answer.status !== 304 && !answer.ok) throw new Error(String(answer.status));
  seenAt = new Date();
  if (answer.status === 304) return null;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { fresh, etag: answer.headers.get("ETag") };
}

/** A double click sends a form once: two would be two keys, or a change that comes after itself. */
let sent = { submitter: null, timeStamp: -Infinity };
addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.submitter === sent.submitter && event.timeStamp - sent.timeStamp < 1000) event.preventDefault();
  else sent = event;
});

/** The cookie follows a log-in in another tab; the field of the form does not. */
function csrfToken(form) {
  return /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] || form.querySelector("[name=csrfmiddlewaretoken]").value;
}

const isTouched = (field) => (field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue);

/** Whether somebody has chosen, ticked or written something, which a new page would lose. */
function holdsInput() {
  return [...document.querySelectorAll("input:is([type=file], [type=checkbox]), textarea")].some(isTouched);
}

/** What somebody has ticked or written in an element goes on in its successor, and with it what was seen before. */
function carryOver(element, fresh) {
  const fields = (root) => [...root.querySelectorAll("input[type=checkbox], textarea")];
  const touched = fields(element).filter(isTouched);
  for (const field of fields(fresh)) {
    const isBox = field.type === "checkbox";
    const before = touched.find((one) => one.name === field.name && (!isBox || one.value === field.value));
    if (before && isBox) field.checked = before.checked;
    else if (before) field.value = before.value;
  }
  const seen = fresh.querySelector("[name=seen]");
  if (touched.length && seen) seen.value = element.querySelector("[name=seen]")?.value ?? seen.value;
}

/** States by the name of what has them, for telling changes only. */
function states(root) {
  const found = new Map();
  if (root.dataset.state) found.set(root.dataset.name || root.querySelector("h1")?.textContent || "", root.dataset.state);
  for (const row of root.querySelectorAll(".rows .row, #result_list tbody tr")) {
    const name = row.querySelector("a")?.firstChild?.textContent?.trim(), badge = row.querySelector(".badge");
    if (name && badge) found.set(name, badge.textContent.trim().toLowerCase());
  }
  return found;
}

/** What a message says of something under way ("cats v1 is loading.") goes once that has changed; receipts stay. */
function dropPassing(changes) {
  for (const words of document.querySelectorAll(".messagelist .passing")) {
    const names = words.dataset.of.split(", "), message = words.closest("li");
    if (!changes.some(([name, state]) => names.includes(name) && !words.textContent.includes(` ${state}.`))) continue;
    words.remove();
    if (!message.textContent.trim()) message.remove();
  }
}

/** What is no longer shown has changed too, and has no state that could be said. */
function sayChanges(before, after) {
  const changes = [...before].filter(([name, state]) => after.get(name) !== state).map(([name]) => [name, after.get(name)]);
  const words = changes.filter(([, state]) => state).map(([name, state]) => `${name} is ${state}.`);
  const line = document.getElementById("live-words");
  if (words.length && line) line.textContent = words.join(" ");
  dropPassing(changes);
}

/** What can have the focus in `root` and looks like `one`: several links may lead to the same page. */
function alike(root, one) {
  const mark = (other) => other.id || other.getAttribute("formaction") || other.getAttribute("href") || other.getAttribute("aria-label") || other.value;
  return [...root.querySelectorAll(one.localName)].filter((other) => mark(other) === mark(one));
}

function swap(element, fresh) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && alike(element, focused).indexOf(focused);
  const scrolled = [...element.querySelectorAll("[tabindex='0']")].map((region) => [region.scrollLeft, region.scrollTop]);
  const opened = [...element.querySelectorAll("details")].map((details) => details.open);
  const chosen = [...element.querySelectorAll("select")].map((select) => select.value);
  sayChanges(states(element), states(fresh));
  carryOver(element, fresh);
  element.replaceWith(fresh);
  fresh.querySelectorAll("[tabindex='0']").forEach((region, i) => region.scrollTo(...(scrolled[i] ?? [0, 0])));
  fresh.querySelectorAll("details").forEach((details, i) => { details.open = Boolean(opened[i]); });
  fresh.querySelectorAll("select").forEach((select, i) => { if (chosen[i]) select.value = chosen[i]; });
  if (focused) {
    const found = alike(fresh, focused);
    (found[place] ?? found.at(-1))?.focus({ preventScroll: true });
  }
  if (fresh.dataset.headline) {
    const headline = document.querySelector(".pagehead h1");
    if (headline) headline.textContent = fresh.dataset.headline;
  }
}

/** Calls `refresh` for ever, and at once when the tab is looked at again or the network is back; it answers whether
    something moves. */
function poll(refresh, isPressed) {
  let misses = 0, timer = setTimeout(look, 2000);
  async function look() {
    timer = null;
    let isMoving = false;
    if (!document.hidden && !isPressed()) {
      try {
        isMoving = await refresh();
        if (misses > 2) isLost -= 1;
        misses = 0;
      } catch (error) {
        misses += 1;
        if (misses === 3) isLost += 1;
        const figures = `The figures are from ${seenAt.toLocaleTimeString([], { hourCycle: "h23" })}.`;
        lost.textContent = error.message === GONE ? GONE : `Connection lost, trying again. ${figures}`;
      }
      document.body.classList.toggle("stale", isLost > 0);
    }
    timer = setTimeout(look, Math.min(30000, (isMoving || misses ? 2000 : 10000) * 2 ** misses));
  }
  const lookNow = () => {
    if (timer === null || document.hidden) return;
    clearTimeout(timer);
    look();
  };
  addEventListener("online", lookNow);
  document.addEventListener("visibilitychange", lookNow);
}

// A load may be over before the page that tells of it is made.
dropPassing([...document.querySelectorAll("[data-live], [data-live-rows]")].flatMap((root) => [...states(root)])
  .filter(([, state]) => !UNDER_WAY.includes(state)));

let parts = [...document.querySelectorAll("[data-live]")];
if (parts.length) {
  poll(async () => {
    const address = new URL(parts[0].dataset.live, location.href);
    address.searchParams.set("fragment", parts.map((part) => part.id).join());
    const found = await fetchFragments(address, document);
    if (found) {
      parts = parts.map((part) => {
        const fresh = found.fresh.getElementById(part.id);
        if (!fresh || fresh.isEqualNode(part)) return part;
        swap(part, fresh);
        return fresh;
      });
      etags.set(document, found.etag);
    }
    return parts.some((part) => part.matches(MOVING) || part.querySelector(MOVING));
  }, () => parts.some((part) => part.querySelector(":active")));
}
