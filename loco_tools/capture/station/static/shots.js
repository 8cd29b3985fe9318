// The strip of shots, grouped by part: what is done, skipped and open, and which one is next.

import { capital, make } from "./elements.js";

const STATUS = { open: "open", done: "taken", skipped: "skipped" };
const shown = new Map(); // part number -> what its group shows

export function drawShots(strip, state) {
  const current = state.current === null ? null : state.current.shot;
  for (const part of state.parts) {
    const key = JSON.stringify([part, part.shots.some((shot) => shot.shot === current) && current]);
    const before = shown.get(part.number);
    if (before && before.key === key) continue;
    const group = groupOf(part, current);
    if (before) before.group.replaceWith(group);
    else strip.append(group);
    shown.set(part.number, { key, group });
  }
  bringIntoView(strip, current);
}

function groupOf(part, current) {
  const group = make("section", "group");
  group.classList.toggle("current", part.shots.some((shot) => shot.shot === current));
  const title = make("h3", "", `${part.number} · ${capital(part.condition)}`);
  title.title = `Part ${part.number}, ${part.split}: ${part.condition}`;
  const list = make("ol");
  list.append(...part.shots.map((shot) => tileOf(shot, shot.shot === current)));
  group.append(title, list);
  return group;
}

function tileOf(shot, isCurrent) {
  const tile = make("li", "shot");
  tile.classList.toggle("current", isCurrent);
  tile.dataset.shot = shot.shot;
  tile.dataset.status = shot.status;
  tile.dataset.overridden = String(shot.overridden.length > 0);
  if (isCurrent) tile.setAttribute("aria-current", "step");
  const kept = shot.overridden.length ? `, kept although it fails: ${shot.overridden.join(", ")}` : "";
  tile.setAttribute("aria-label", `${shot.shot}: ${isCurrent ? "next" : STATUS[shot.status]}${kept}`);
  if (shot.picture !== null) {
    const image = make("img");
    image.alt = "";
    image.loading = "lazy";
    image.src = `shots/${shot.shot}/thumbnail?content=${shot.picture}`;
    tile.append(image);
  }
  tile.append(make("span", "", shot.status === "skipped" ? "skipped" : shot.view));
  return tile;
}

function bringIntoView(strip, current) {
  const tile = current && strip.querySelector(`[data-shot="${CSS.escape(current)}"]`);
  if (!tile || strip.dataset.current === current) return;
  strip.dataset.current = current;
  const group = tile.closest(".group");
  strip.scrollLeft = group.offsetLeft - strip.offsetLeft - (strip.clientWidth - group.clientWidth) / 2;
}
