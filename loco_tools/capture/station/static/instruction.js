// The words of the page: what to do now, how far the session is, what went wrong.

import { at, capital, show } from "./elements.js";
import { failedOf } from "./verdicts.js";

export function drawProgress(state) {
  at("progress").max = state.planned;
  at("progress").value = state.done + state.skipped;
  at("done").textContent = state.done;
  at("planned").textContent = state.planned;
  at("skipped").textContent = state.skipped ? ` · ${state.skipped} skipped` : "";
}

export function drawInstruction(state) {
  const current = state.current;
  if (current === null) return;
  const left = state.planned - state.done - state.skipped;
  at("instruction").dataset.mount = String(!current.is_mounted);
  at("part").textContent =
    `${current.is_mounted ? "Same part" : "Mount part"} ${current.part} of ${state.parts.length}`;
  at("left").textContent = `${left} ${left === 1 ? "shot" : "shots"} left`;
  at("condition").textContent = current.good ? "Good part" : capital(current.condition);
  at("condition").dataset.good = String(current.good);
  const view = state.views > 1 ? `View ${current.view_number} of ${state.views}` : "View";
  at("view").textContent = `${view}: ${current.view}`;
  at("camera-position").textContent = capital(current.camera_position);
}

export function drawFinished(state) {
  if (state.phase !== "finished") return;
  const skipped = state.skipped > 0;
  at("finished-title").textContent = `All shots are taken${skipped ? " or skipped" : ""}`;
  const kept = state.parts.flatMap((part) => part.shots).filter((shot) => shot.overridden.length);
  const words = [
    `${state.done} of ${state.planned} shots taken`,
    ...(skipped ? [`${state.skipped} skipped`] : []),
    ...(kept.length ? [`${kept.length} kept although a gate fails`] : []),
  ];
  at("finished-words").textContent = `${words.join(", ")}.`;
  show(at("reopen"), skipped);
}

export function showFault(fault) {
  show(at("fault"), fault !== null);
  if (fault === null) return;
  at("fault-words").textContent = capital(fault.words);
  at("fault-next").textContent = capital(fault.next_step || "read the message above, then try again");
}

/** For ears: what has just changed. */
export function say(state) {
  const candidate = state.candidate;
  if (candidate === null) at("said").textContent = state.instruction;
  else if (candidate.passed) at("said").textContent = "Good photograph. Next, or retake.";
  else {
    const words = failedOf(candidate).map((verdict) => verdict.words);
    at("said").textContent = `Fails: ${words.join(". ")}`;
  }
}

let toasting = 0;

/** A short note that goes away by itself. */
export function toast(words) {
  at("toast").textContent = capital(words);
  show(at("toast"), true);
  clearTimeout(toasting);
  toasting = setTimeout(() => show(at("toast"), false), 4000);
}
