// The focus meter and the histogram: drawn from what the station measures on a live frame.

const COLOURS = {
  text: "#f3f6f8", quiet: "#a9b6bf", track: "#252e35",
  amber: "#ffb938", green: "#4be39a", red: "#ff7a6b", blue: "#63c7ff",
};
const IN_FOCUS = 3; // scale without a reference: a camera in focus gives about 2.5
const FULL = 1.25; // scale with one: sharper than the reference by a quarter

export function drawFocus(canvas, output, look, leastShare) {
  const { context, width, height } = surface(canvas);
  context.fillStyle = COLOURS.track;
  context.fillRect(0, 0, width, height);
  if (look === null || look.sharpness === null) {
    output.textContent = look === null ? "–" : "no part in view";
    return;
  }
  const full = look.reference === null ? IN_FOCUS : look.reference * FULL;
  const at = (value) => Math.min(1, value / full) * width;
  const least = look.reference === null || leastShare === null ? null : look.reference * leastShare;
  const sharp = least === null || look.sharpness >= least;
  context.fillStyle = look.reference === null ? COLOURS.blue : sharp ? COLOURS.green : COLOURS.red;
  context.fillRect(0, 0, at(look.sharpness), height);
  if (least !== null) mark(context, at(least), height, COLOURS.text, [4, 4]);
  mark(context, at(look.peak) - 2, height, COLOURS.amber, []);
  output.textContent = focusWords(look, sharp);
}

function focusWords(look, sharp) {
  if (look.reference === null) {
    return `${look.sharpness.toFixed(2)} · best ${look.peak.toFixed(2)} · no reference yet`;
  }
  const share = Math.round((100 * look.sharpness) / look.reference);
  const peak = Math.round((100 * look.peak) / look.reference);
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

export function drawHistogram(canvas, output, look, limits) {
  const { context, width, height } = surface(canvas);
  if (look === null) {
    output.textContent = "–";
    return;
  }
  const bars = look.histogram;
  const step = width / bars.length;
  bars.forEach((share, index) => {
    const last = index === bars.length - 1;
    context.fillStyle = index === 0 ? COLOURS.blue : last ? COLOURS.red : COLOURS.quiet;
    const top = Math.round(height * (1 - 0.94 * share));
    context.fillRect(index * step, top, Math.max(1, step - 1), height - top);
  });
  const bright = tooMuch(look.saturated, limits.saturated);
  const dark = tooMuch(look.black, limits.black);
  output.textContent =
    `${percent(look.saturated)} saturated${bright ? ": too bright" : ""} · ` +
    `${percent(look.black)} black${dark ? ": too dark" : ""}`;
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
