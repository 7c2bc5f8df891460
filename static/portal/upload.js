/* Upload with progress: the file goes straight to the REST API, which streams it to disk. XMLHttpRequest, because fetch
   cannot tell what was sent. Without a script the form posts itself, up to a smaller limit. Needs live.js. */
"use strict";

const form = document.querySelector("form[data-upload]");
const zone = form.querySelector(".dropzone"), main = form.querySelector(".btn.main");
const file = form.elements.file, nameField = form.elements.name, hint = document.getElementById("name-hint");
const zoneWords = zone.querySelector("strong"), plainZone = zoneWords.textContent;
const SILENCE_S = 10;
const LOGGED_OUT = "You are logged out. Log in in another tab, then press “Upload and check” again.";
const takeOver = document.getElementById("take-over"), asBefore = document.getElementById("as-before");
const SET_UP = ["labels", "preset", "size", "resize", "color", "activation", "engine", "precision", "graph_inputs", "graph_outputs"];
const plain = Object.fromEntries(SET_UP.map((field) => [field, form.elements[field].value]));
let setUpAs = asBefore.textContent ? nameField.value : ""; // the model whose settings stand in the form
let madeName = ""; // of the chosen file; a name that somebody typed stays

for (const [event, isOver] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
  zone.addEventListener(event, () => zone.classList.toggle("over", isOver));
}

function lastNumber(name) {
  const option = [...form.querySelectorAll("datalist option")].find((one) => one.value === name);
  return option ? Number(option.dataset.last) : null;
}

function tellName() {
  const last = lastNumber(nameField.value.trim());
  hint.textContent = last === null ? hint.dataset.plain : `${nameField.value.trim()} exists; this becomes version ${last + 1}.`;
  const isOther = nameField.value.trim() !== setUpAs;
  takeOver.hidden = !last || !isOther;
  asBefore.hidden = isOther;
}

/** Labels, preprocessing and so on of the model's newest version, into the form: the server fills in one of its own. */
takeOver.addEventListener("click", async () => {
  const name = nameField.value.trim();
  const text = await fetch(`${location.pathname}?name=${encodeURIComponent(name)}`).then((page) => page.text()).catch(() => "");
  const page = new DOMParser().parseFromString(text, "text/html"), filled = page.querySelector("form[data-upload]");
  if (!filled) return;
  for (const field of SET_UP) {
    form.elements[field].value = filled.elements[field].value;
    if (filled.elements[field].value !== plain[field]) form.elements[field].closest?.("details")?.setAttribute("open", "");
  }
  setUpAs = name;
  checkPrecision();
  asBefore.textContent = page.getElementById("as-before").textContent;
  tellName();
  form.elements.labels.focus();
});
nameField.addEventListener("input", tellName);

/** Where the name came into being or went since the page was made: what pressing again makes of it; else nothing. */
async function nameNews(name, wasKnown) {
  const text = await fetch(location.pathname).then((page) => page.text()).catch(() => "");
  const names = new DOMParser().parseFromString(text, "text/html").getElementById("names");
  if (!names) return "";
  document.getElementById("names").replaceWith(names);
  tellName();
  const last = lastNumber(name);
  if ((last !== null) === wasKnown) return "";
  const [what, made] = last === null ? [`There is no model called ${name} any more.`, "a new one"] : [`There is a model called ${name} meanwhile.`, `version ${last + 1} of it`];
  return `${what} Press “Upload and check” again to make ${made}.`;
}

function proposedName(chosen) {
  return chosen.name.replace(/\.[^.]*$/, "").replace(/[^-\w]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 100);
}

/** For screen readers: a change of state, never figures, which stand in the progress box. An error speaks for itself. */
function say(sentence) {
  document.getElementById("upload-words").textContent = sentence;
}

/** A file that the server would refuse is not sent: the browser holds the form back. */
function checkSize(chosen) {
  const limit = Number(form.dataset.limit);
  let sentence = "";
  if (chosen?.size === 0) sentence = "The file is empty; a folder goes as one .zip."; // as WebKit gives a dropped folder
  if (chosen?.size > limit) sentence = `${chosen.name} is ${size(chosen.size)}; a file may hold at most ${size(limit)}.`;
  file.setCustomValidity(sentence);
  if (chosen) clearErrors(zone.parentElement);
  if (sentence) addError(zone.parentElement, sentence);
}

/** What the page says about the file and the name that stand there, whoever put them there. */
function tellChoice() {
  zoneWords.textContent = file.files[0]?.name ?? plainZone;
  checkSize(file.files[0]);
  checkPattern(nameField);
  checkPrecision();
  tellName();
}
file.addEventListener("change", () => {
  const chosen = file.files[0];
  if (chosen && (!nameField.value || nameField.value === madeName)) nameField.value = madeName = proposedName(chosen);
  tellChoice();
});
window.addEventListener("pageshow", () => { // on the way back Chromium gives file and name back only now
  const chosen = file.files[0];
  if (chosen && nameField.value === proposedName(chosen)) madeName = nameField.value;
  tellChoice();
});

/** The field takes one file. Of several it would not even see the drop, and a folder would break the request. */
function refuseSeveral(event) {
  const files = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  if (files.length < 2 && !files[0]?.webkitGetAsEntry()?.isDirectory) return;
  event.preventDefault();
  if (event.type === "dragover") return;
  clearErrors(zone.parentElement);
  addError(zone.parentElement, "Drop one file. Several, or a folder, go as one .zip.");
}
zone.addEventListener("dragover", refuseSeveral);
zone.addEventListener("drop", refuseSeveral);

/** As inference/refusal.py prints them. */
function size(bytes) {
  if (bytes < 999500) return bytes < 1000 ? `${Math.round(bytes)} bytes` : `${Math.round(bytes / 1e3)} KB`;
  return bytes < 999.5e6 ? `${(bytes / 1e6).toFixed(bytes < 99.95e6 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function duration(seconds) {
  return seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** A field that does not fit its pattern says what is wanted, before a large file is sent beside it. */
function checkPattern(field) {
  field.setCustomValidity("");
  field.setCustomValidity(field.validity.patternMismatch ? field.title : "");
}
const sizeField = form.elements.size;
for (const field of [nameField, sizeField]) field.addEventListener("input", () => checkPattern(field));

/** An engine that does not compute in the precision, in the words of catalog.py's precision_refusal. */
function checkPrecision() {
  const { engine, precision } = form.elements;
  const known = (option) => option.dataset.precisions.split(" ");
  const chosen = known(engine.selectedOptions[0]);
  const able = [...engine.options].filter((option) => option.value !== "auto" && known(option).includes(precision.value));
  const choice = able.map((option) => option.value).join(" or ");
  const refusal = `${engine.value} computes in ${chosen.join(" and ")} only. Choose ${choice} for ${precision.value}.`;
  precision.setCustomValidity(chosen.includes(precision.value) ? "" : refusal);
}
for (const name of ["engine", "precision"]) form.elements[name].addEventListener("change", checkPrecision);
sizeField.addEventListener("invalid", () => sizeField.closest("details").setAttribute("open", ""));

function clearErrors(root) {
  for (const field of [root, ...root.querySelectorAll(".field.error")]) field.classList.remove("error");
  for (const text of root.querySelectorAll(".errortext, .errornote")) text.remove();
}

function addError(field, sentence) {
  const line = document.createElement("p");
  line.className = "errortext";
  line.textContent = sentence;
  field.classList.add("error");
  field.append(line);
}

/** Each sentence at its field, the others above all fields. */
function showErrors(answer) {
  const fields = Object.entries(answer.fields || {}), rest = [];
  for (const [name, sentences] of fields) {
    const field = form.querySelector(`[data-field="${CSS.escape(name.split(".")[0])}"]`);
    if (!field) { rest.push(...sentences); continue; }
    field.closest("details")?.setAttribute("open", "");
    for (const sentence of sentences) addError(field, sentence);
  }
  const note = document.createElement("p");
  note.className = "errornote";
  note.setAttribute("role", "alert");
  const wrong = form.querySelector(".field.error :is(input, textarea, select)");
  const told = fields.length ? [...(wrong ? ["Something is to be corrected below."] : []), ...rest].join(" ") : answer.detail || "The server did not take the file. Try again.";
  note.textContent = told === LOGGED_OUT ? told : `${told} Nothing was kept of the file.`.trim();
  form.querySelector(".fields").prepend(note);
  note.scrollIntoView({ block: "nearest" });
  wrong?.focus({ preventScroll: true });
}

/** The fields of the form as the API takes them. */
function body(isKnown) {
  const data = new FormData(form), wish = { preset: data.get("preset") };
  for (const key of ["resize", "color"]) if (data.get(key)) wish[key] = data.get(key);
  const numbers = data.get("size").match(/\d+/g); // two: the field's pattern sees to it
  if (numbers) wish.size = numbers.map(Number);
  const sent = new FormData();
  if (!isKnown) sent.set("name", nameField.value.trim());
  sent.set("engine", data.get("engine"));
  const options = {};
  if (data.get("precision") !== "f32") options.precision = data.get("precision");
  for (const key of ["graph_inputs", "graph_outputs"]) {
    const names = data.get(key).split(",").map((name) => name.trim()).filter(Boolean);
    if (names.length) options[key] = names;
  }
  if (Object.keys(options).length) sent.set("options", JSON.stringify(options));
  if (data.get("labels").trim()) sent.set("labels", data.get("labels"));
  sent.set("preprocessing", JSON.stringify(wish));
  if (data.get("activation") !== "none") sent.set("postprocessing", JSON.stringify({ activation: data.get("activation") }));
  sent.set("file", file.files[0]);
  return sent;
}

function isLoggedOut(status, answer) {
  return status === 401 || (status === 403 && String(answer.detail).startsWith("CSRF Failed"));
}

function progressBox(name, stop) {
  const box = document.createElement("div"), words = document.createElement("span");
  const button = document.createElement("button"), bar = document.createElement("progress");
  box.className = "chosen";
  button.type = "button";
  button.className = "btn";
  button.textContent = "Stop";
  button.addEventListener("click", stop);
  bar.max = 100;
  bar.setAttribute("aria-label", `Upload of ${name}`);
  box.append(words, button, bar);
  return { box, words, button, bar };
}

function setBusy(isBusy) {
  zone.hidden = isBusy;
  main.disabled = isBusy;
  main.textContent = isBusy ? "Uploading…" : "Upload and check";
  window.onbeforeunload = isBusy ? (event) => event.preventDefault() : null;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearErrors(form);
  const send = new XMLHttpRequest(), began = performance.now(), sent = file.files[0];
  const { box, words, button, bar } = progressBox(sent.name, () => send.abort());
  let silence = null, isHalfSaid = false;
  const awaitProgress = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      words.textContent += `. Nothing was sent for ${SILENCE_S} s.`;
      say(`The upload of ${sent.name} stands still.`);
    }, 1000 * SILENCE_S);
  };
  const back = (answer) => {
    box.remove();
    say("");
    setBusy(false);
    showErrors(answer);
    if (document.activeElement === document.body) main.focus({ preventScroll: true }); // its button is gone
  };
  zone.after(box);
  setBusy(true);
  button.focus(); // the button that had it is disabled, and below what is to be seen now
  words.textContent = `${sent.name}, ${size(sent.size)}`;
  say(`The upload of ${sent.name} has begun.`);
  awaitProgress();
  send.upload.addEventListener("loadend", () => clearTimeout(silence));
  send.upload.addEventListener("load", () => say(`${sent.name} is received and is being checked.`));
  send.upload.addEventListener("progress", (e) => {
    awaitProgress();
    if (!isHalfSaid && 2 * e.loaded >= e.total && e.loaded < e.total) {
      isHalfSaid = true;
      say(`Half of ${sent.name} is uploaded.`);
    }
    bar.value = (100 * e.loaded) / e.total;
    const rate = Math.max(1, (1000 * e.loaded) / (performance.now() - began)); // bytes a second
    words.textContent = `${sent.name}: ${size(Math.min(e.loaded, sent.size))} of ${size(sent.size)}, ${size(rate)} a second, about ${duration((e.total - e.loaded) / rate)} left`;
  });
  send.addEventListener("load", async () => {
    let answer = {};
    try { answer = JSON.parse(send.responseText); } catch { /* no JSON: the constant sentence is shown */ }
    window.onbeforeunload = null;
    if (send.status === 201) location.assign(`${form.dataset.then}${encodeURIComponent(answer.name || answer.model)}/${answer.version || 1}/`);
    else if (isLoggedOut(send.status, answer)) back({ detail: LOGGED_OUT });
    else {
      const news = send.status === 404 || answer.fields?.name ? await nameNews(name, isKnown) : "";
      back(news ? { detail: news } : answer);
    }
  });
  send.addEventListener("error", () => back({ detail: "The connection broke. Press “Upload and check” again; if the file has changed since, choose it again." }));
  send.addEventListener("abort", () => back({ detail: "Stopped." }));
  const name = nameField.value.trim(), isKnown = lastNumber(name) !== null;
  send.open("POST", isKnown ? `${form.dataset.upload}${encodeURIComponent(name)}/versions/` : form.dataset.upload);
  send.setRequestHeader("X-CSRFToken", csrfToken(form));
  send.send(body(isKnown));
});
