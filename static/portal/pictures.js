/* Model portal: previews, pasting and the progress of each picture on the try page; how many pictures may be chosen there
   and on the page of the action "Ask with pictures". Without it the forms work as they stand. Needs live.js. */
"use strict";

/** A field takes no more files than `data-most` says, as many as a request may hold. */
function countFiles(input) {
  const most = Number(input.dataset.most), count = input.files.length;
  input.setCustomValidity(count > most ? `Choose at most ${most} pictures at once; these are ${count}.` : "");
}

for (const input of document.querySelectorAll("input[data-most]")) {
  input.addEventListener("change", () => countFiles(input));
  window.addEventListener("pageshow", () => countFiles(input)); // on the way back Chromium gives the choice back only now
}

{
  const form = document.getElementById("ask");
  const input = form?.querySelector("input[type=file]");
  const field = form?.querySelector("input[type=file], textarea");
  const button = document.getElementById("ask-button");
  const hint = document.getElementById("ask-hint");
  const list = document.createElement("ul");
  let isAsking = false;

  // ---- the drop zone: the file input takes the drop itself
  const zone = input?.closest(".dropzone");
  if (zone) {
    list.className = "previews";
    list.setAttribute("aria-label", "Chosen pictures");
    for (const [event, isOver] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]])
      zone.addEventListener(event, () => zone.classList.toggle("over", isOver));
    for (const event of ["dragover", "drop"]) zone.addEventListener(event, refuseFolder);
    input.addEventListener("change", showPreviews);
    document.addEventListener("paste", paste);
    form.addEventListener("submit", ask);
    window.addEventListener("pageshow", showPreviews);
    const samples = document.getElementById("samples");
    if (samples) samples.hidden = false;
    samples?.addEventListener("click", takeSample);
  } else if (form) {
    form.addEventListener("submit", () => say("Waiting for the answer"));
    window.addEventListener("pageshow", () => say(""));
  }

  function showPreviews() {
    for (const img of list.querySelectorAll("img")) URL.revokeObjectURL(img.src);
    const files = [...input.files];
    list.replaceChildren(...files.slice(0, Number(input.dataset.most)).map(preview));
    if (files.length) zone.after(list);
    else list.remove();
    countFiles(input);
    say(chosenWords());
  }

  function chosenWords() {
    const count = input.files.length;
    return count === 1 ? "1 picture chosen" : count ? `${count} pictures chosen` : "";
  }

  function preview(file) {
    const item = document.createElement("li");
    const img = document.createElement("img");
    img.src = URL.createObjectURL(file);
    img.alt = "";
    img.onerror = () => { // of a kind that this browser does not show; the portal may still read it
      const box = document.createElement("div");
      box.className = "noimg";
      box.setAttribute("aria-hidden", "true");
      box.textContent = "?";
      img.replaceWith(box);
    };
    const name = document.createElement("span");
    name.title = file.name;
    name.textContent = file.size ? file.name : `Empty: ${file.name}`; // as WebKit gives a dropped folder
    item.classList.toggle("bad", !file.size);
    const out = document.createElement("button");
    out.type = "button";
    out.textContent = "×";
    out.setAttribute("aria-label", `Take out ${file.name}`);
    out.addEventListener("click", () => takeOut(file));
    item.append(img, name, out);
    return item;
  }

  function choose(files) {
    if (isAsking || input.disabled) return;
    const all = new DataTransfer();
    for (const file of files) all.items.add(file);
    input.files = all.files;
    showPreviews();
  }

  async function takeSample(event) {
    const img = event.target.closest("button")?.querySelector("img");
    const data = img && await fetch(img.src).then((answer) => answer.blob()).catch(() => null);
    if (data) choose([...input.files, new File([data], `${img.alt.at(-1)}.png`, { type: data.type })]);
  }

  /** The focus goes to the next one's button, behind the last to the one before, behind the only one to the field. */
  function takeOut(file) {
    const files = [...input.files], at = files.indexOf(file);
    choose(files.filter((other) => other !== file));
    const buttons = [...list.querySelectorAll("button")];
    (buttons[at] ?? buttons.at(-1) ?? input).focus();
  }

  function paste(event) {
    const pasted = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (pasted.length) choose([...input.files, ...pasted]);
  }

  function say(text) {
    if (!button.disabled || text) hint.textContent = text;
  }

  // ---- asking: one request for all pictures; how much of it is sent says how far each picture is
  function ask(event) {
    event.preventDefault();
    if (isAsking) return;
    isAsking = true;
    button.disabled = true;
    const files = [...input.files];
    const items = [...list.children];
    const bars = items.map((item, i) => {
      item.classList.remove("done", "bad");
      const bar = document.createElement("progress");
      bar.max = 1;
      bar.value = 0;
      bar.setAttribute("aria-label", files[i].name);
      item.append(bar);
      return bar;
    });
    const request = new XMLHttpRequest();
    request.upload.onprogress = (sent) => {
      let left = sent.loaded;
      files.forEach((file, i) => {
        if (bars[i] && left >= file.size) bars[i].removeAttribute("value"); // sent; now the model is at it
        else if (bars[i]) bars[i].value = Math.max(0, left) / (file.size || 1);
        left -= file.size;
      });
      say(sent.loaded < sent.total ? `${Math.round((100 * sent.loaded) / sent.total)} % sent` : "Waiting for the answer");
    };
    request.onload = () => showAnswers(request, items);
    request.onerror = () => refuse("The connection broke, or a picture is gone or has changed since it was chosen. Ask again, or choose the pictures again.");
    request.open("POST", `${form.getAttribute("action")}&fragment=answers`);
    request.send(body());
    say("Sending");

    function end(text) {
      for (const bar of bars) bar.remove();
      isAsking = false;
      follow();
      say(text);
      if (document.activeElement === document.body) button.focus({ preventScroll: true }); // it was disabled
    }

    /** Read out too, which the figures of the progress are not. */
    function refuse(text) {
      end(text);
      document.getElementById("live-words").textContent = text;
    }

    function showAnswers(answer, chosen) {
      const fresh = new DOMParser().parseFromString(answer.responseText, "text/html").getElementById("answers");
      if (!fresh || !answer.responseURL.includes("fragment=answers")) {
        refuse(whyNot(answer));
        return;
      }
      const answers = document.getElementById("answers"); // stays: what is put into it is read out
      answers.replaceChildren(...fresh.childNodes);
      const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
      if (answers.getBoundingClientRect().top > 0.7 * innerHeight) answers.scrollIntoView({ behavior }); // below, on a phone
      const cards = answers.querySelectorAll(".answer");
      if (cards.length === chosen.length) chosen.forEach((item, i) => item.classList.add(cards[i].querySelector(".card.bad") ? "bad" : "done"));
      end(chosenWords()); // others may have been chosen meanwhile
    }
  }

  function body() {
    const data = new FormData(form);
    data.set("csrfmiddlewaretoken", csrfToken(form));
    return data;
  }

  function whyNot(answer) {
    if (answer.status === 413) return "These pictures are too many or too large for one request. Send fewer.";
    if (!answer.responseURL.includes("fragment=answers") || answer.status === 403) return "You are logged out. Log in in another tab, then ask again.";
    return "The portal did not answer this. Load the page again.";
  }

  /** Of a folder the browser would send nothing: it takes the pictures inside, one by one. */
  function refuseFolder(event) {
    const items = [...event.dataTransfer.items];
    if (!items.some((item) => item.webkitGetAsEntry()?.isDirectory)) return;
    event.preventDefault();
    if (event.type === "drop") say("Drop pictures, not a folder.");
  }

  // ---- field and button follow the state, which polling swaps in
  function follow() {
    const state = document.getElementById("state");
    if (!state || isAsking) return;
    // opened during the check, which has now told what the model takes
    if (form.hasAttribute("data-unknown") && !state.hasAttribute("data-unknown")) location.reload();
    const isAskable = state.hasAttribute("data-askable");
    if (button.textContent !== state.dataset.ask) button.textContent = state.dataset.ask;
    if (isAskable && button.disabled) hint.textContent = "";
    for (const one of [button, field, ...form.querySelectorAll("#samples button")]) one.disabled = !isAskable;
    button.classList.toggle("main", !state.querySelector("button"));
  }
  if (button) new MutationObserver(follow).observe(document.querySelector(".trypage"), { childList: true });
}
