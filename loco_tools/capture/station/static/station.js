// The station page. The server holds the state: this page polls its version, shows it, and sends
// commands that name the turn and the shot they refer to. The server refuses a command about an
// outdated state (409), so that a double tap does nothing twice.

import { at, show } from "./elements.js";
import { drawFinished, drawInstruction, drawProgress, say, showFault, toast } from "./instruction.js";
import { drawFocus, drawHistogram } from "./meters.js";
import { drawCaption, drawPicture, runLive, toggleGhost } from "./picture.js";
import { drawShots } from "./shots.js";
import { drawVerdicts } from "./verdicts.js";

const POLL_MS = 200;
const POLL_LOST_MS = 1000;
const KEYS = {
  " ": "shoot", n: "next", r: "retake", s: "skip", p: "skip-part", u: "undo",
  k: "confirm-keep", g: "ghost-toggle", escape: "cancel-keep",
};

const page = document.body;
const number = (text) => (text === "" ? null : Number(text));
const limits = {
  sharpness: number(page.dataset.sharpness),
  saturated: number(page.dataset.saturated),
  black: number(page.dataset.black),
};

let state = null; // the last state from the server
let measurements = null; // what the live frame measures
let asked = 0; // requests for the state so far
let confirming = false; // the second step before a failing photograph is kept
let sent = null; // the command that is being executed
let lost = false; // the station does not answer
let polling = 0;

// -- talking to the station

async function poll() {
  clearTimeout(polling);
  let pause = POLL_MS;
  try {
    const now = await (await get("live.json")).json();
    measurements = now.measurements;
    if (state === null || lost || now.version !== state.version) await refresh();
    drawMeters();
  } catch (error) {
    pause = POLL_LOST_MS;
    lose(error);
  }
  clearTimeout(polling);
  if (!document.hidden) polling = setTimeout(poll, pause);
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

async function refresh() {
  const mine = ++asked;
  const now = await (await get("state")).json();
  if (mine === asked) take(now); // else a later answer is shown already, or comes soon
}

function take(now) {
  const before = state;
  if (before === null || now.turn !== before.turn) confirming = false;
  state = now;
  lost = false;
  draw();
  if (before === null || now.turn !== before.turn || now.phase !== before.phase) say(now);
}

function lose(error) {
  lost = true;
  // fetch throws a TypeError if there is no answer
  const words = error instanceof TypeError ? "the station does not answer" : error.message;
  const next_step =
    "check that it still runs where it was started, and check the network; this page then continues";
  showFault({ words, next_step });
  page.dataset.lost = "true";
  drawButtons();
}

async function send(action, more = {}) {
  if (sent !== null || state === null || state.busy || lost) return;
  sent = action;
  drawButtons();
  const shot = state.current === null ? null : state.current.shot;
  try {
    const answer = await fetch(`commands/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ turn: state.turn, shot, ...more }),
    });
    await receive(answer);
  } catch (error) {
    lose(error);
  } finally {
    sent = null;
    drawButtons();
  }
}

async function receive(answer) {
  if (answer.ok) {
    const now = await answer.json();
    asked += 1;
    take(now);
    return;
  }
  const explained = answer.headers.get("content-type").startsWith("application/json");
  const said = explained ? await answer.json() : { kind: "refused", words: await answer.text() };
  await refresh();
  if (said.kind !== "fault" || state.fault === null) toast(said.words || "The station refused that.");
}

// -- showing the state

function draw() {
  page.dataset.phase = state.phase;
  page.dataset.turn = state.turn;
  page.dataset.passed = state.candidate === null ? "" : String(state.candidate.passed);
  page.dataset.lost = "false";
  showFault(state.fault);
  drawProgress(state);
  drawInstruction(state);
  drawPicture(state);
  drawVerdicts(state.candidate, confirming);
  drawFinished(state);
  drawShots(at("strip"), state);
  drawButtons();
  drawMeters();
}

function drawButtons() {
  const phase = state === null ? "loading" : state.phase;
  const still = sent !== null || lost || state === null || state.busy;
  const passed = state !== null && state.candidate !== null && state.candidate.passed;
  const failed = phase === "review" && !passed;
  const stopped = state !== null && state.fault !== null && state.fault.stops;
  offer("shoot", phase === "aim" || phase === "loading", still || stopped);
  offer("next", phase === "review" && passed, still);
  offer("keep", failed && !confirming, still);
  offer("cancel-keep", failed && confirming, still);
  offer("confirm-keep", failed && confirming, still);
  offer("skip", phase !== "finished" && !(failed && confirming), still);
  offer("skip-part", phase === "aim" && state.views > 1, still);
  offer("reconnect", stopped, still);
  offer("retake", phase !== "finished", still || stopped || phase !== "review");
  offer("undo", true, still || (phase !== "review" && !(state.done + state.skipped)));
  offer("reopen", !at("reopen").hidden, still);
  at("retake").classList.toggle("primary", failed);
  at("undo-words").textContent = phase === "review" ? "Discard" : "Undo";
  at("retake-words").textContent = sent === "retake" ? "Shooting …" : "Retake";
  at("shoot-words").textContent = sent === "shoot" ? "Shooting …" : "Shoot";
}

function offer(id, visible, disabled) {
  show(at(id), visible);
  at(id).disabled = disabled;
}

function drawMeters() {
  if (state === null) return;
  const aimed = state.phase === "aim";
  const fresh = aimed && measurements !== null && measurements.shot === state.current.shot;
  drawCaption(state.phase, fresh);
  if (!aimed) return;
  drawFocus(at("focus"), at("focus-words"), fresh ? measurements : null, limits.sharpness);
  drawHistogram(at("histogram"), at("brightness-words"), fresh ? measurements : null, limits);
}

// -- buttons and keys

function confirmKeep(on) {
  confirming = on;
  drawVerdicts(state.candidate, confirming);
  drawButtons();
  if (on) at("keep-words").scrollIntoView({ block: "nearest" });
}

function redrawPicture() {
  if (state === null) return;
  drawPicture(state);
  drawMeters();
}

const ACTIONS = {
  "undo": () => send(state.phase === "review" ? "discard" : "undo"),
  "skip-part": () => send("skip", { whole_part: true }),
  "keep": () => confirmKeep(true),
  "cancel-keep": () => confirmKeep(false),
  "confirm-keep": () => send("accept", { override: true }),
  "ghost-toggle": () => { toggleGhost(); redrawPicture(); },
};

for (const button of document.querySelectorAll("button")) {
  const act = ACTIONS[button.id] ?? (() => send(button.dataset.command));
  button.addEventListener("click", (event) => {
    act();
    if (event.detail > 0) button.blur(); // a tapped button must not take the space key
  });
}
at("ghost-opacity").addEventListener("input", redrawPicture);

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
  if (state !== null) runLive(state.phase);
  if (!document.hidden) poll();
});
window.addEventListener("resize", drawMeters);

poll();
