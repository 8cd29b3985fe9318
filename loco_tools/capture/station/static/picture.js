// The picture: the live view with the ghost of the reference over it, or the photograph just taken.

import { at, show } from "./elements.js";

const page = document.body;
const AGAIN_MS = 1000;
let ghosted = false;

at("stage").style.aspectRatio = `${page.dataset.width} / ${page.dataset.height}`;

at("live").addEventListener("error", () => {
  at("live").removeAttribute("src"); // the station is busy, or it has closed the stream
  setTimeout(() => runLive(page.dataset.phase), AGAIN_MS);
});

export function toggleGhost() {
  ghosted = !ghosted;
}

export function drawPicture(state) {
  const { candidate, phase } = state;
  show(at("photograph"), candidate !== null);
  if (candidate !== null) setSource(at("photograph"), `photograph/${candidate.number}`);
  show(at("live"), phase === "aim");
  runLive(phase);
  drawGhost(phase, state.current === null ? null : state.current.reference);
}

function drawGhost(phase, reference) {
  const strength = at("ghost-opacity").value;
  at("ghost-toggle").disabled = reference === null;
  at("ghost-toggle").setAttribute("aria-pressed", String(ghosted));
  at("ghost-opacity").disabled = reference === null;
  at("ghost-words").textContent = reference === null ? "no reference yet" : `${strength} %`;
  show(at("ghost"), ghosted && reference !== null && phase === "aim");
  if (reference !== null) setSource(at("ghost"), reference);
  at("ghost").style.opacity = strength / 100;
}

/** Show the stream only while it is looked at: browsers allow six connections per station. */
export function runLive(phase) {
  if (phase === "aim" && !document.hidden) setSource(at("live"), "live.mjpeg");
  else at("live").removeAttribute("src");
}

/** What the picture is; `fresh` says that the live view shows the current shot. */
export function drawCaption(phase, fresh) {
  const simulated = page.dataset.simulated === "true";
  show(at("waiting"), phase === "aim" && !fresh);
  at("waiting").textContent = simulated ? "Rendering the part …" : "Waiting for the camera …";
  show(at("caption"), phase !== "finished");
  const live = `${simulated ? "Simulated view" : "Live"}${at("ghost").hidden ? "" : " + ghost"}`;
  at("caption").textContent = phase === "review" ? "Photograph, not yet kept" : live;
}

function setSource(image, source) {
  if (image.getAttribute("src") !== source) image.src = source;
}
