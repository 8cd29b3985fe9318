'use strict';
const page = document.documentElement;
const on = (id, event, act) => {
  const found = document.getElementById(id);
  if (found) found.addEventListener(event, () => act(found));
};
on('heat', 'input', slider => page.style.setProperty('--heat', slider.value / 100));
on('truth', 'change', box => document.body.classList.toggle('plain', !box.checked));
on('lit', 'change', box => document.body.classList.toggle('uncut', !box.checked));
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
// What a link leads to is opened first; everything is open on paper.
const unfold = () => {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (found && found.tagName === 'DETAILS') {
    found.open = true;
    found.scrollIntoView();
  }
};
addEventListener('hashchange', unfold);
unfold();
addEventListener('beforeprint', () => {
  for (const details of document.querySelectorAll('details:not([open])')) {
    details.open = true;
    details.dataset.printed = '';
  }
});
addEventListener('afterprint', () => {
  for (const details of document.querySelectorAll('details[data-printed]')) {
    details.open = false;
    delete details.dataset.printed;
  }
});
