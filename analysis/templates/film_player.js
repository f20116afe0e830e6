"use strict";
// Plays recorded episodes step by step; everything it shows stands in the page itself.
const STEP_MS = 350;

function player(figure) {
  const film = JSON.parse(figure.querySelector("script").textContent);
  const part = (name) => figure.querySelector(`[data-part="${name}"]`);
  const last = film.captions.length - 1;
  const slider = part("slider"), play = part("play"), sheet = part("sheet"), words = part("words");
  const rows = film.names.map((name, action) => choiceRow(part("choices"), name));
  let step = 0, timer = 0;

  function show(wanted) {
    step = Math.min(Math.max(wanted, 0), last);
    sheet.style.left = `${-100 * (step % film.columns)}%`;
    sheet.style.top = `${-100 * Math.floor(step / film.columns)}%`;
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${last}`);
    const ended = step === last, state = film.states[step];
    const taken = ended ? film.captions[last] : film.names[film.actions[step]];
    part("step").textContent = `Step ${step} of ${last}: ${taken}`;
    part("state").textContent = ended || state === undefined ? "" : film.texts[state];
    const plans = ended || state === undefined ? [] : film.plans[state];
    part("plans").textContent = plans.length
      ? "Teacher: " + plans.map(([plan, share]) => `${plan} ${Math.round(100 * share)}%`).join(", ")
      : "";
    rows.forEach((row, action) => {
      row.root.classList.toggle("taken", !ended && film.actions[step] === action);
      row.student(ended ? undefined : (film.student[step] || [])[action]);
      row.teacher(ended ? undefined : (film.teacher[step] || [])[action]);
    });
    if (ended) pause();
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    words.setAttribute("aria-live", "polite");
  }

  play.addEventListener("click", () => {
    if (timer) return pause();
    if (step === last) show(0);
    words.setAttribute("aria-live", "off"); // nobody wants every step read out
    play.textContent = "Pause";
    timer = setInterval(() => show(step + 1), STEP_MS);
  });
  part("first").addEventListener("click", () => { pause(); show(0); });
  part("back").addEventListener("click", () => { pause(); show(step - 1); });
  part("next").addEventListener("click", () => { pause(); show(step + 1); });
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  slider.max = last;
  if (!film.student.length) part("choices").closest("table").hidden = true;
  figure.classList.add("ready");
  show(0);
}

function choiceRow(body, name) {
  const root = body.insertRow();
  root.appendChild(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
  const cell = (kind) => {
    const td = root.insertCell(), bar = document.createElement("span");
    const fill = document.createElement("i"), number = document.createElement("span");
    bar.className = `bar ${kind}`;
    number.className = "share";
    bar.appendChild(fill);
    td.append(bar, number);
    return (share) => {
      fill.style.width = `${100 * (share || 0)}%`;
      number.textContent = share ? `${Math.round(100 * share)}%` : "";
    };
  };
  return { root, student: cell("student"), teacher: cell("teacher") };
}

document.querySelectorAll("[data-film]").forEach(player);
