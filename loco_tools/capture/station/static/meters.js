// The focus meter and the histogram: drawn from what the station measures on a live frame.

const COLOURS = {
  text: "#f3f6f8", quiet: "#a9b6bf", track: "#252e35",
  amber: "#ffb938", green: "#4be39a", red: "#ff7a6b", blue: "#63c7ff",
};
const IN_FOCUS = 3; // scale without a reference: a camera in focus gives about 2.5
const FULL = 1.25; // scale with one: sharper than the reference by a quarter

export function drawFocus(canvas, output, measurements, leastShare) {
  const { context, width, height } = surface(canvas);
  context.fillStyle = COLOURS.track;
  context.fillRect(0, 0, width, height);
  if (measurements === null || measurements.sharpness === null) {
    output.textContent = measurements === null ? "–" : "no part in view";
    return;
  }
  const full = measurements.reference === null ? IN_FOCUS : measurements.reference * FULL;
  const at = (value) => Math.min(1, value / full) * width;
  const hasLimit = measurements.reference !== null && leastShare !== null;
  const least = hasLimit ? measurements.reference * leastShare : null;
  const sharp = least === null || measurements.sharpness >= least;
  context.fillStyle = measurements.reference === null ? COLOURS.blue : sharp ? COLOURS.green : COLOURS.red;
  context.fillRect(0, 0, at(measurements.sharpness), height);
  if (least !== null) mark(context, at(least), height, COLOURS.text, [4, 4]);
  mark(context, at(measurements.peak) - 2, height, COLOURS.amber, []);
  output.textContent = focusWords(measurements, sharp);
}

function focusWords(measurements, sharp) {
  if (measurements.reference === null) {
    return `${measurements.sharpness.toFixed(2)} · best ${measurements.peak.toFixed(2)} · no reference yet`;
  }
  const share = Math.round((100 * measurements.sharpness) / measurements.reference);
  const peak = Math.round((100 * measurements.peak) / measurements.reference);
  return `${sharp ? "sharp" : "not sharp"}: ${share} % · best ${peak} %`;
}

function mark(context, x, height, colour, dashes) {
  context.strokeStyle = colour;
  context.lineWidth = 4;
  context.setLineDash(dashes);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, height);
  context.stroke();
  context.setLineDash([]);
}

export function drawHistogram(canvas, output, measurements, limits) {
  const { context, width, height } = surface(canvas);
  if (measurements === null) {
    output.textContent = "–";
    return;
  }
  const bars = measurements.histogram;
  const step = width / bars.length;
  bars.forEach((share, index) => {
    const last = index === bars.length - 1;
    context.fillStyle = index === 0 ? COLOURS.blue : last ? COLOURS.red : COLOURS.quiet;
    const top = Math.round(height * (1 - 0.94 * share));
    context.fillRect(index * step, top, Math.max(1, step - 1), height - top);
  });
  const bright = tooMuch(measurements.saturated, limits.saturated);
  const dark = tooMuch(measurements.black, limits.black);
  output.textContent =
    `${percent(measurements.saturated)} saturated${bright ? ": too bright" : ""} · ` +
    `${percent(measurements.black)} black${dark ? ": too dark" : ""}`;
  output.dataset.bad = String(bright || dark);
}

function tooMuch(share, limit) {
  return limit !== null && share > limit;
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

function surface(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return { context, width: canvas.clientWidth, height: canvas.clientHeight };
}
