// The station page. The server's state is the truth: this page polls its version, shows what it
// says, and sends wishes that name the turn and the shot they are about. A wish about a state that
// is gone is refused there (409), so a double tap does nothing twice.

import { drawFocus, drawHistogram } from "./meters.js";
import { drawShots } from "./shots.js";

const POLL_MS = 200;
const POLL_BUSY_MS = 1000;
const KEYS = {
  " ": "shoot", n: "next", r: "retake", s: "skip", u: "undo", k: "confirm-keep",
  g: "ghost-toggle", escape: "cancel-keep",
};

const at = (id) => document.getElementById(id);
const page = document.body;
const number = (text) => (text === "" ? null : Number(text));
const limits = {
  sharpness: number(page.dataset.sharpness),
  saturated: number(page.dataset.saturated),
  black: number(page.dataset.black),
};

let state = null; // what the server said last
let look = null; // what the live frame measures
let confirming = false; // the second step before a failing photograph is kept
let sending = false; // a wish is on its way
let lost = false; // the station does not answer
let ghosted = false;

// -- talking to the station

async function poll() {
  let pause = POLL_MS;
  try {
    const answer = await fetch("look", { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    const now = await answer.json();
    look = now.look;
    if (state === null || lost || now.version !== state.version) await refresh();
    lost = false;
    drawMeters();
  } catch (error) {
    pause = POLL_BUSY_MS;
    lose(error);
  }
  if (!document.hidden) setTimeout(poll, pause);
}

async function refresh() {
  const answer = await fetch("state", { cache: "no-store" });
  if (!answer.ok) throw new Error(await answer.text());
  take(await answer.json());
}

function take(now) {
  if (state !== null && now.version < state.version && !lost) return;
  if (state === null || now.turn !== state.turn) confirming = false;
  const before = state;
  state = now;
  draw();
  say(before);
}

function lose(error) {
  lost = true;
  showFault({
    words: "The station does not answer.",
    next_step: "look whether it still runs where it was started, and at the network; this page goes on by itself",
  });
  page.dataset.lost = "true";
  drawButtons();
  if (!(error instanceof TypeError)) at("fault-words").textContent = error.message;
}

async function wish(action, more = {}) {
  if (sending || state === null || state.busy || lost) return;
  sending = true;
  drawButtons();
  const shot = state.current === null ? null : state.current.shot;
  try {
    const answer = await fetch(`wishes/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ turn: state.turn, shot, ...more }),
    });
    await receive(answer);
  } catch (error) {
    lose(error);
  } finally {
    sending = false;
    if (!lost) drawButtons();
  }
}

async function receive(answer) {
  if (answer.ok) {
    take(await answer.json());
    return;
  }
  const said = answer.headers.get("content-type").startsWith("application/json")
    ? await answer.json()
    : { kind: "fault", words: await answer.text() };
  await refresh();
  if (said.kind !== "fault" || state.fault === null) toast(said.words || "The station refused that.");
}

// -- showing the state

function draw() {
  page.dataset.phase = state.phase;
  page.dataset.passed = state.candidate === null ? "" : String(state.candidate.passed);
  page.dataset.lost = "false";
  at("progress").max = state.planned;
  at("progress").value = state.done + state.skipped;
  at("done").textContent = state.done;
  at("planned").textContent = state.planned;
  at("skipped").textContent = state.skipped ? ` · ${state.skipped} skipped` : "";
  showFault(state.fault);
  drawInstruction(state.current);
  drawPicture();
  drawVerdicts(state.candidate);
  drawFinished();
  drawShots(at("strip"), state);
  drawButtons();
  drawMeters();
}

function showFault(fault) {
  at("fault").hidden = fault === null;
  if (fault === null) return;
  at("fault-words").textContent = fault.words;
  at("fault-next").textContent = fault.next_step || "read the message above, then try again";
}

function drawInstruction(current) {
  if (current === null) return;
  const parts = state.parts.length;
  const left = state.planned - state.done - state.skipped;
  at("part").textContent =
    `${current.keeps ? "Keep" : "Mount"} part ${current.part} of ${parts} · ${left} shots left`;
  at("condition").textContent = current.good ? "Good part" : capital(current.condition);
  at("condition").dataset.good = String(current.good);
  at("view").textContent =
    state.views > 1 ? `View ${current.view_number} of ${state.views}: ${current.view}` : `View: ${current.view}`;
  at("looks").textContent = current.looks;
}

function drawPicture() {
  const candidate = state.candidate;
  at("photograph").hidden = candidate === null;
  if (candidate !== null) setSource(at("photograph"), `photograph/${candidate.number}`);
  at("live").hidden = candidate !== null || state.phase === "finished";
  runLive();
  const reference = state.current === null ? null : state.current.reference;
  at("ghost-toggle").disabled = reference === null;
  at("ghost-words").textContent = reference === null ? "no reference yet" : "";
  at("ghost").hidden = !(ghosted && reference !== null && state.phase === "aim");
  if (reference !== null) setSource(at("ghost"), reference);
  at("ghost").style.opacity = at("ghost-opacity").value / 100;
  at("ghost-toggle").setAttribute("aria-pressed", String(ghosted));
}

function runLive() {
  const wanted = state !== null && state.phase === "aim" && !document.hidden;
  if (wanted) setSource(at("live"), "live.mjpeg");
  else at("live").removeAttribute("src"); // ends the stream: browsers allow six per station
}

function setSource(image, source) {
  if (image.getAttribute("src") !== source) image.src = source;
}

function drawVerdicts(candidate) {
  if (candidate === null) return;
  const failed = candidate.verdicts.filter((verdict) => !verdict.passed);
  at("verdict").textContent = candidate.passed
    ? "Good photograph"
    : failed.length === 1 ? "One gate fails" : `${failed.length} gates fail`;
  const ordered = [...failed, ...candidate.verdicts.filter((verdict) => verdict.passed)];
  at("verdicts").replaceChildren(...ordered.map(lineOf));
}

function lineOf(verdict) {
  const line = document.createElement("li");
  line.className = verdict.passed ? "passed" : "failed";
  line.dataset.gate = verdict.gate;
  const mark = span("mark", verdict.passed ? "✓" : "✗");
  mark.setAttribute("aria-label", verdict.passed ? "passed:" : "failed:");
  line.append(mark, span("words", capital(verdict.words)), span("figures", figuresOf(verdict)));
  return line;
}

function figuresOf(verdict) {
  if (verdict.value === null || verdict.limit === null) return "";
  return `${short(verdict.value)} · limit ${short(verdict.limit)}`;
}

function short(value) {
  return String(Number(value.toPrecision(3)));
}

function drawFinished() {
  if (state.phase !== "finished") return;
  at("finished-title").textContent =
    state.skipped ? "All shots are taken or skipped" : "All shots are taken";
  const kept = state.parts.flatMap((part) => part.shots).filter((shot) => shot.overridden.length);
  at("finished-words").textContent =
    `${state.done} of ${state.planned} shots taken` +
    (state.skipped ? `, ${state.skipped} skipped` : "") +
    (kept.length ? `, ${kept.length} kept although they fail a gate` : "") + ".";
  at("take-up").hidden = state.skipped === 0;
}

function drawButtons() {
  const phase = state === null ? "loading" : state.phase;
  const still = sending || lost || state === null || state.busy;
  const passed = state !== null && state.candidate !== null && state.candidate.passed;
  const failed = phase === "review" && !passed;
  show("shoot", phase !== "review", still || phase !== "aim");
  show("next", phase === "review" && passed, still);
  show("keep", failed && !confirming, still);
  show("cancel-keep", failed && confirming, still);
  show("confirm-keep", failed && confirming, still);
  show("skip", !(failed && confirming), still || phase === "finished");
  show("retake", true, still || phase !== "review");
  show("undo", true, still || (phase !== "review" && !(state.done + state.skipped)));
  at("retake").classList.toggle("primary", failed);
  at("keep-words").hidden = !confirming;
  at("undo-words").textContent = phase === "review" ? "Back to live" : "Undo";
  at("take-up").disabled = still;
  at("shoot").firstChild.textContent = still && phase === "aim" && !lost ? "Shooting …" : "Shoot";
}

function show(id, visible, disabled) {
  at(id).hidden = !visible;
  at(id).disabled = disabled;
}

function drawMeters() {
  if (state === null || state.phase !== "aim") {
    at("waiting").hidden = state !== null;
    at("caption").textContent = state !== null && state.phase === "review" ? "Photograph" : "";
    at("caption").hidden = at("caption").textContent === "";
    return;
  }
  const fresh = look !== null && look.shot === state.current.shot;
  const simulated = page.dataset.simulated === "true";
  at("waiting").hidden = fresh;
  at("waiting").textContent = simulated ? "Rendering the part …" : "Waiting for the camera …";
  at("caption").hidden = false;
  at("caption").textContent = simulated ? "Simulated view" : "Live";
  drawFocus(at("focus"), at("focus-words"), fresh ? look : null, limits.sharpness);
  drawHistogram(at("histogram"), at("brightness-words"), fresh ? look : null, limits);
}

// -- words for ears, and short notes

function say(before) {
  if (before !== null && before.turn === state.turn && before.phase === state.phase) return;
  const candidate = state.candidate;
  if (candidate === null) at("said").textContent = state.instruction;
  else {
    const failed = candidate.verdicts.filter((verdict) => !verdict.passed);
    at("said").textContent = candidate.passed
      ? "Good photograph. Next, or retake."
      : `Fails: ${failed.map((verdict) => verdict.words).join(". ")}`;
  }
}

let toasting = 0;
function toast(words) {
  at("toast").textContent = capital(words);
  at("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { at("toast").hidden = true; }, 4000);
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

// -- the operator's hands

function confirmKeep(on) {
  confirming = on;
  drawButtons();
  if (on) at("keep-words").scrollIntoView({ block: "nearest" });
}

const ACTIONS = {
  "undo": () => wish(state.phase === "review" ? "discard" : "undo"),
  "keep": () => confirmKeep(true),
  "cancel-keep": () => confirmKeep(false),
  "confirm-keep": () => wish("accept", { override: true }),
  "ghost-toggle": () => { ghosted = !ghosted; drawPicture(); },
};

for (const button of document.querySelectorAll("button")) {
  const act = ACTIONS[button.id] ?? (() => wish(button.dataset.wish));
  button.addEventListener("click", (event) => {
    act();
    if (event.detail > 0) button.blur(); // a tapped button must not take the space key
  });
}
at("ghost-opacity").addEventListener("input", drawPicture);

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const inControl = event.target.matches("button, input");
  if (inControl && (event.key === " " || event.key === "Enter")) return;
  let id = KEYS[event.key.toLowerCase()];
  if (id === "next" && at("next").hidden) id = "keep";
  const button = id && at(id);
  if (!button) return;
  event.preventDefault();
  if (!button.hidden && !button.disabled) button.click();
});

document.addEventListener("visibilitychange", () => {
  if (state !== null) runLive();
  if (!document.hidden) poll();
});
window.addEventListener("resize", drawMeters);

poll();
