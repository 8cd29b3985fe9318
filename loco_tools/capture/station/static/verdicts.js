// The verdicts of the quality gates on a photograph. A failed gate is shown with what to do about
// it, a passed one with its value and its limit only.

import { at, capital, make, show } from "./elements.js";

const SHARE = (value) => `${short(100 * value)} %`;
const GATES = {
  part: { title: "Contrast to the cloth", least: true },
  saturated: { title: "Saturated pixels", figure: SHARE },
  black: { title: "Black pixels", figure: SHARE },
  position: { title: "Off its place by", figure: (value) => `${short(value)} mm` },
  angle: { title: "Turned by", figure: (value) => `${Number(value.toFixed(1))}°` },
  sharpness: { title: "Sharpness", figure: SHARE, least: true },
  motion: { title: "Moved by", figure: (value) => `${short(value)} px` },
  duplicate: { title: "Unlike the others", figure: (value) => `${short(value)} ×`, least: true },
};

export function drawVerdicts(candidate, confirming) {
  show(at("keep-words"), confirming);
  if (candidate === null) return;
  const failed = failedOf(candidate);
  at("verdict").textContent = candidate.passed
    ? "Good photograph"
    : failed.length === 1 ? "One gate fails" : `${failed.length} gates fail`;
  const passed = candidate.verdicts.filter((verdict) => verdict.passed);
  at("verdicts").replaceChildren(...failed.map(failedLine), ...passed.map(passedLine));
}

export function failedOf(candidate) {
  return candidate.verdicts.filter((verdict) => !verdict.passed);
}

function failedLine(verdict) {
  const line = lineOf(verdict, "✗", "failed:");
  const [wrong, ...advice] = verdict.words.split("; ");
  line.append(make("strong", "words", capital(wrong)));
  line.append(make("span", "advice", advice.map(capital).join(". ")));
  line.append(figuresOf(verdict));
  return line;
}

function passedLine(verdict) {
  const line = lineOf(verdict, "✓", "passed:");
  line.title = capital(verdict.words);
  const gate = GATES[verdict.gate];
  line.append(make("span", "words", gate ? gate.title : capital(verdict.words)), figuresOf(verdict));
  return line;
}

function lineOf(verdict, sign, said) {
  const line = make("li", verdict.passed ? "passed" : "failed");
  line.dataset.gate = verdict.gate;
  const mark = make("span", "mark", sign);
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", said);
  line.append(mark);
  return line;
}

function figuresOf(verdict) {
  const figures = make("span", "figures");
  if (verdict.value === null || verdict.limit === null) return figures;
  const { figure = short, least = verdict.value < verdict.limit === !verdict.passed } =
    GATES[verdict.gate] ?? {};
  figures.append(
    make("b", "", figure(verdict.value)),
    ` ${least ? "at least" : "at most"} ${figure(verdict.limit)}`,
  );
  return figures;
}

function short(value) {
  if (value >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(2)));
}
