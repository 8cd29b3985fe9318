"""The report's style sheet and script, both inside the page: it opens offline and from a file."""

CSS = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1a2129; --quiet: #56616d;
  --line: #d9dee4; --soft: #eceff3; --accent: #0b5cad; --gauge: #8fbbe6;
  --gauge-best: #0b62b0; --counted: #cfe3f6;
  --good: #4d7a9e; --logical: #a4508b; --structural: #c8590c; --bad: #b3261e;
  --s0: #0b62b0; --s1: #c8590c; --s2: #00805f; --s3: #a4508b;
  --s4: #8a6500; --s5: #2b8cc4; --s6: #555; --s7: #7a3b00; }
@media (prefers-color-scheme: dark) { :root { --page: #12161b; --card: #1b2128; --ink: #e8ecf1;
  --quiet: #a3aebb; --line: #343d47; --soft: #262e37; --accent: #7fbcf5; --gauge: #47749e;
  --counted: #24435f;
  --gauge-best: #7fbcf5; --good: #8ab6d8; --logical: #dc93c5; --structural: #f0914a;
  --bad: #ff8a80; --s0: #6fb5f2; --s1: #f0914a; --s2: #4cc9a0; --s3: #dc93c5; --s4: #e0be4b;
  --s5: #a5d8f5; --s6: #bbb; --s7: #d0a078; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3.5rem; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
header, main, footer { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.2rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; margin: 0 0 .6rem; }
h2 { font-size: 1.4rem; margin: 0 0 .3rem; }
h4 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
h3 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; max-width: 68ch; }
.quiet, small { color: var(--quiet); }
.quiet { font-size: .92rem; }
nav { position: sticky; top: 0; z-index: 2; background: var(--page); margin-top: 1rem;
  border-bottom: 1px solid var(--line); }
nav ul { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; display: flex; gap: 1.3rem;
  list-style: none; overflow-x: auto; }
nav a { display: block; padding: .7rem 0; white-space: nowrap; text-decoration: none; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.4rem 1.5rem; margin: 1.3rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.2rem, 1fr)); gap: .8rem;
  margin: 1.3rem 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: .9rem 1.1rem; }
.card dt { color: var(--quiet); font-size: .9rem; }
.card dd { margin: 0; } .card .big { font-size: 1.45rem; font-weight: 650;
  overflow-wrap: anywhere; }
.badge { display: inline-block; border: 1.5px solid var(--structural); color: var(--structural);
  border-radius: 99px; padding: .05rem .7rem; font-size: .9rem; font-weight: 600;
  margin: 0 0 .7rem; }
.failures { border-left: 6px solid var(--bad); } .failures li { overflow-wrap: anywhere; }
.bad { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; margin: .7rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); font-size: .92rem; padding: 0 0 .4rem; }
th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--line);
  font-weight: normal; vertical-align: middle; }
thead th { color: var(--quiet); font-size: .9rem; border-bottom: 2px solid var(--line);
  white-space: nowrap; }
tbody th { overflow-wrap: break-word; max-width: 16rem; min-width: 8.2rem; }
.num { text-align: right; } td.num { min-width: 5.4rem; }
.gauge { display: block; height: 5px; margin-top: 3px; border-radius: 3px; overflow: hidden;
  background: var(--soft); }
.gauge span { display: block; height: 100%; background: var(--gauge); border-radius: 3px; }
.best .gauge span { background: var(--gauge-best); }
.figure { white-space: nowrap; } .best .figure { font-weight: 700; }
.star { margin-right: .3rem; color: var(--ink); }
.total th, .total td { font-weight: 600; border-top: 2px solid var(--line); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 0 2.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr));
  gap: 1rem 1.4rem; margin: .4rem 0 1rem; }
figure { margin: 0; } figcaption { font-size: .95rem; margin-bottom: .2rem;
  overflow-wrap: anywhere; }
.chart { width: 100%; max-width: 26rem; height: auto; display: block; }
.chart text { font-size: 11px; fill: var(--quiet); } .chart .mark { fill: var(--ink);
  paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.grid, .rule { stroke: var(--line); fill: none; }
.guess { stroke: var(--quiet); stroke-dasharray: 2 4; fill: none; }
.counted { fill: var(--counted); opacity: .55; }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); stroke-dasharray: 7 3; }
.s2 { stroke: var(--s2); stroke-dasharray: 2 2.5; } .s3 { stroke: var(--s3);
  stroke-dasharray: 9 3 2 3; }
.s4 { stroke: var(--s4); stroke-dasharray: 4 2; } .s5 { stroke: var(--s5);
  stroke-dasharray: 12 3; }
.s6 { stroke: var(--s6); stroke-dasharray: 1 3; } .s7 { stroke: var(--s7);
  stroke-dasharray: 5 2 1 2; }
.dot { stroke-width: 2.5; stroke-dasharray: none; fill: var(--card); }
.snug td.num { min-width: 3.4rem; } .snug thead th { white-space: normal; vertical-align: bottom; }
.dot.full { fill: var(--s0); } .line.thin { stroke-width: 1.2; }
.shade { background: color-mix(in srgb, var(--gauge) calc(var(--r) * 75%), transparent); }
.shade.minus { background: color-mix(in srgb, var(--structural) calc(var(--r) * 45%),
  transparent); }
.verdict { display: block; font-size: .85rem; color: var(--quiet); white-space: nowrap; }
.bar.good { fill: var(--good); } .bar.logical { fill: var(--logical); }
.bar.structural { fill: var(--structural); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; list-style: none; padding: 0;
  margin: .4rem 0; }
.sample { width: 34px; height: 12px; margin-right: .45rem; }
.controls { display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; align-items: center;
  padding: .6rem 0; }
.controls label { display: flex; gap: .5rem; align-items: center; }
.ramp { width: 120px; height: 10px; }
.row { border-top: 1px solid var(--line); padding: .8rem 0; break-inside: avoid; }
.row[hidden] { display: none; }
.note { font-weight: 600; }
.pill { display: inline-block; border-radius: 99px; padding: 0 .6rem; font-size: .85rem;
  border: 1.5px solid currentColor; margin-right: .3rem; }
.pill.good { color: var(--good); } .pill.logical { color: var(--logical); }
.pill.structural { color: var(--structural); }
.strip { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr));
  gap: .7rem; }
.cell { max-width: 19rem; font-size: .88rem; color: var(--quiet); overflow-wrap: anywhere; }
.cell b { color: var(--ink); }
.tile { display: block; width: 100%; padding: 0; border: 0; background: var(--soft);
  cursor: zoom-in;
  border-radius: 6px; overflow: hidden; margin-bottom: .25rem; }
.tile svg { display: block; width: 100%; height: auto; max-height: 20rem; }
.heat { opacity: var(--heat, .75); }
.truth path { fill: none; vector-effect: non-scaling-stroke; }
.truth .casing { stroke: #000; stroke-width: 2.8; opacity: .75; }
.truth .structural { stroke: #35e6ff; stroke-width: 1.4; }
.truth .logical { stroke: #35e6ff; stroke-width: 1.4; stroke-dasharray: 5 3; }
.plain .truth { display: none; }
dialog { border: 0; border-radius: 12px; padding: 1rem; background: var(--card); color: var(--ink);
  width: min(94vw, 62rem); max-height: 94vh; }
dialog::backdrop { background: #000a; }
dialog svg { width: 100%; height: auto; max-height: 76vh; display: block; }
dialog form { display: flex; justify-content: space-between; gap: 1rem; align-items: start; }
button.plainly { font: inherit; padding: .3rem .9rem; border-radius: 8px; color: var(--ink);
  border: 1px solid var(--line); background: var(--soft); cursor: pointer; }
dl.glossary { columns: 2 24rem; column-gap: 2.2rem; }
dl.glossary div { break-inside: avoid; } dl.glossary dt { font-weight: 650; }
dl.glossary dd { margin: 0 0 .7rem; max-width: 72ch; }
details { margin: .6rem 0; } summary { cursor: pointer; padding: .3rem 0; }
details table { font-size: .85rem; } details td { white-space: nowrap; }
code { font-size: .9em; overflow-wrap: anywhere; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
footer { padding-bottom: 3rem; color: var(--quiet); font-size: .9rem; }
@media (max-width: 40rem) {
  header, main, footer, nav ul { padding-left: .9rem; padding-right: .9rem; }
  section { padding: 1rem .9rem; border-radius: 9px; }
  table { font-size: .88rem; } th, td { padding: .4rem .28rem; } td.num { min-width: 3.9rem; }
  thead th { font-size: .8rem; } tbody th { min-width: 4.6rem; }
  .cards { grid-template-columns: 1fr 1fr; } .card .big { font-size: 1.2rem; }
  .strip { grid-template-columns: repeat(2, 1fr); }
}
@media print {
  :root { color-scheme: light; --page: #fff; }
  nav, .controls { display: none; } section { border: 0; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .charts figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .strip { grid-template-columns: repeat(5, 1fr); }
}
"""

SCRIPT = """
'use strict';
const page = document.documentElement;
const on = (id, event, act) => {
  const found = document.getElementById(id);
  if (found) found.addEventListener(event, () => act(found));
};
on('heat', 'input', slider => page.style.setProperty('--heat', slider.value / 100));
on('truth', 'change', box => document.body.classList.toggle('plain', !box.checked));
on('kind', 'change', choice => {
  for (const row of document.querySelectorAll('.row'))
    row.hidden = choice.value !== 'all' && row.dataset.kind !== choice.value;
});
const dialog = document.getElementById('large');
const tiles = () => [...document.querySelectorAll('.row:not([hidden]) .tile')];
let current = null;
const show = tile => {
  current = tile;
  const row = tile.closest('.row');
  const picture = tile.querySelector('svg').cloneNode(true);
  document.getElementById('large-picture').replaceChildren(picture);
  document.getElementById('large-name').textContent =
    row.querySelector('figcaption').textContent + ' — ' + tile.nextElementSibling.innerText;
  if (!dialog.open) dialog.showModal();
};
const step = by => {
  const all = tiles();
  const next = all[all.indexOf(current) + by];
  if (next) show(next);
};
document.addEventListener('click', event => {
  const tile = event.target.closest('.tile');
  if (tile) show(tile);
  else if (event.target === dialog) dialog.close();
});
dialog.addEventListener('keydown', event => {
  if (event.key === 'ArrowRight') step(1);
  if (event.key === 'ArrowLeft') step(-1);
});
dialog.addEventListener('close', () => current && current.focus());
"""
