'use strict';
// The interactive view of one image. Its data lie in the page; nothing is fetched.
(() => {
  const stored = document.getElementById('view-data');
  if (!stored) return;
  const data = JSON.parse(stored.textContent);
  const part = name => document.getElementById('view-' + name);
  const make = (tag, text, attributes = {}) => {
    const found = document.createElement(tag);
    if (text) found.textContent = text;
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    return found;
  };
  const state = { of: 0, image: 0, method: 0, heat: true, hidden: new Set(), levels: new Map() };
  let decoded = null;  // pixels of the current image
  let turn = 0;        // drops what was asked for before

  const current = () => data.classes[state.of];
  const image = () => current().images[state.image];
  const method = () => current().methods[state.method];
  const levelKey = place => current().name + '\n' + current().methods[place].name;
  const levelOf = place =>
    state.levels.get(levelKey(place)) ?? current().methods[place].level ?? 128;

  const pixelsOf = async url => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    const canvas = make('canvas');
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const drawing = canvas.getContext('2d', { willReadFrequently: true });
    drawing.drawImage(picture, 0, 0);
    return drawing.getImageData(0, 0, canvas.width, canvas.height).data;
  };

  const decode = async one => {
    const [photo, maps, masks] = await Promise.all([
      pixelsOf(one.photo),
      Promise.all(one.maps.map(pixelsOf)),
      Promise.all(one.defects.map(defect => pixelsOf(defect.mask))),
    ]);
    const levels = maps.map(map => map.filter((_, place) => place % 4 === 0));
    const defects = masks.map((mask, place) => {
      const pixels = [];
      for (let pixel = 0; pixel * 4 < mask.length; pixel++) if (mask[pixel * 4]) pixels.push(pixel);
      return { ...one.defects[place], pixels, inside: new Set(pixels) };
    });
    return { photo, levels, defects };
  };

  const ramp = level => {
    const at = (level / 255) * (data.ramp.length - 1);
    const low = Math.min(Math.floor(at), data.ramp.length - 2), share = at - low;
    return data.ramp[low].map((value, c) => value + share * (data.ramp[low + 1][c] - value));
  };
  const colours = Array.from({ length: 256 }, (_, level) => ramp(level));

  // The photo, the map over it, the segmentation hatched, and the true defects outlined.
  const draw = (canvas, place) => {
    const [height, width] = image().size;
    canvas.width = width;
    canvas.height = height;
    const drawing = canvas.getContext('2d');
    const shown = new ImageData(new Uint8ClampedArray(decoded.photo), width, height);
    const levels = decoded.levels[place], level = levelOf(place);
    const opacity = state.heat ? part('opacity').value / 100 : 0;
    const cut = part('cut').checked;
    const lit = pixel => levels[pixel] >= level;
    const blend = (pixel, colour, alpha) => {
      for (let c = 0; c < 3; c++) {
        const under = shown.data[pixel * 4 + c];
        shown.data[pixel * 4 + c] = under + alpha * (colour[c] - under);
      }
    };
    const set = (pixel, colour) => blend(pixel, colour, 1);
    for (let pixel = 0; pixel < levels.length; pixel++) {
      blend(pixel, colours[levels[pixel]], opacity * Math.min(1, 1.6 * levels[pixel] / 255));
      if (!cut || !lit(pixel)) continue;
      const x = pixel % width, y = (pixel - x) / width;
      if (segmentation.isBorder(lit, pixel, width, height)) set(pixel, [255, 255, 255]);
      else if ((x + y) % 6 === 0) blend(pixel, [255, 255, 255], 0.5);
    }
    decoded.defects.forEach((defect, number) => {
      if (state.hidden.has(number)) return;
      const inside = pixel => defect.inside.has(pixel);
      const border = defect.pixels.filter(
        pixel => segmentation.isBorder(inside, pixel, width, height));
      for (const pixel of border) {  // cased in black, to be seen on any ground
        for (const next of [pixel - 1, pixel + 1, pixel - width, pixel + width])
          if (next >= 0 && next < levels.length && !inside(next)) set(next, [0, 0, 0]);
      }
      for (const pixel of border) {
        const dashed = defect.kind === 'logical' && (pixel % width + Math.floor(pixel / width)) % 6 > 3;
        set(pixel, dashed ? [0, 0, 0] : [53, 230, 255]);
      }
    });
    drawing.putImageData(shown, 0, 0);
  };

  const figures = () => {
    const table = make('table'), head = table.createTHead().insertRow();
    for (const name of ['method', 'threshold', 'sPRO', 'false area', 'says', 'above % of good'])
      head.append(make('th', name, { scope: 'col', class: name === 'method' ? '' : 'num' }));
    const body = table.createTBody();
    current().methods.forEach((one, place) => {
      const row = body.insertRow(), level = levelOf(place), verdict = image().scores[place];
      if (place === state.method) row.className = 'chosen';
      const spro = segmentation.spro(decoded.levels[place], decoded.defects, level);
      const wrong = segmentation.falseShare(decoded.levels[place], decoded.defects, level);
      const score = one.scale && one.scale[0] + level / 255 * (one.scale[1] - one.scale[0]);
      row.append(make('th', one.name, { scope: 'row' }));
      for (const [name, text] of [
        ['threshold', score === null ? `level ${level}` : Number(score.toPrecision(3)).toString()],
        ['spro', spro === null ? '–' : spro.toFixed(3)],
        ['false', (100 * wrong).toFixed(1) + ' %'],
        ['says', verdict.says || '–'],
        ['above', Math.round(100 * verdict.above)],
      ]) row.append(make('td', text, { class: 'num', 'data-figure': name }));
    });
    return table;
  };

  const redraw = () => {
    if (!decoded) return;
    draw(part('large'), state.method);
    [...part('methods').children].forEach((tile, place) => {
      draw(tile.querySelector('canvas'), place);
      tile.setAttribute('aria-pressed', String(place === state.method));
    });
    const level = levelOf(state.method);
    part('threshold').value = level;
    part('threshold-says').textContent = `${level} of 255`;
    part('opacity-says').textContent = `${part('opacity').value} %`;
    part('figures').replaceChildren(figures());
  };

  const hash = () => {
    const path = [current().name, ...image().key.split('/')].map(encodeURIComponent).join('/');
    return `#image=${path}&method=${encodeURIComponent(method().name)}`;
  };

  const toggles = () => image().defects.map((defect, number) => {
    const box = make('input', '', { type: 'checkbox', value: number });
    box.checked = !state.hidden.has(number);
    box.addEventListener('change', () => {
      if (box.checked) state.hidden.delete(number); else state.hidden.add(number);
      redraw();
    });
    const label = make('label');
    label.append(box, ` ${defect.name} (${defect.kind}, saturates at ${defect.saturation} px here)`);
    return label;
  });

  const show = async (keepHash = false) => {
    const mine = ++turn, one = image();
    part('class').value = state.of;
    part('image').replaceChildren(...current().images.map((each, place) =>
      make('option', `${each.key} – ${each.types.join(', ') || 'good'}`, { value: place })));
    part('image').value = state.image;
    const ready = await decode(one);
    if (mine !== turn) return;
    decoded = ready;
    part('methods').replaceChildren(...current().methods.map((each, place) => {
      const tile = make('button', '', { type: 'button', class: 'choice' });
      tile.append(make('canvas'), make('span', each.name));
      tile.addEventListener('click', () => { state.method = place; update(); });
      return tile;
    }));
    const legend = part('defects').querySelector('legend');
    part('defects').replaceChildren(legend, ...toggles());
    part('defects').hidden = !one.defects.length;
    update(keepHash);
    document.getElementById('view').dataset.ready = `${current().name}/${one.key}`;
  };

  const update = (keepHash = false) => {
    const one = image();
    part('name').textContent =
      `${current().name}, ${one.key}: ${one.types.join(', ') || 'good'}. ${method().name}. ${one.why}.`;
    if (!keepHash) history.replaceState(null, '', hash());
    redraw();
  };

  const go = by => {
    const places = current().images.length;
    state.image = (state.image + by + places) % places;
    state.hidden.clear();
    show();
  };
  const turnTo = by => {
    state.method = (state.method + by + current().methods.length) % current().methods.length;
    update();
  };
  const cutAt = level => {
    state.levels.set(levelKey(state.method), Math.min(255, Math.max(1, level)));
    redraw();
  };

  // "#image=CLASS/KIND FOLDER/ID&method=NAME"; whether it names an image that is in this file.
  const follow = () => {
    if (!location.hash.startsWith('#image=')) return false;
    const [place, ...rest] = location.hash.slice(7).split('&');
    let names;
    try { names = place.split('/').map(decodeURIComponent); } catch { return false; }
    const of = data.classes.findIndex(each => each.name === names[0]);
    const found = of < 0 ? -1 :
      data.classes[of].images.findIndex(each => each.key === names.slice(1).join('/'));
    if (found < 0) {
      part('name').textContent = 'The image that this address names is not in this file.';
      document.getElementById('view').scrollIntoView();
      return true;
    }
    Object.assign(state, { of, image: found });
    state.hidden.clear();
    const wanted = new URLSearchParams(rest.join('&')).get('method');
    state.method = Math.max(0, current().methods.findIndex(each => each.name === wanted));
    show(true).then(() => document.getElementById('inspect').scrollIntoView());
    return true;
  };

  part('class').replaceChildren(...data.classes.map((each, place) =>
    make('option', each.name, { value: place })));
  part('class').addEventListener('change', () => {
    Object.assign(state, { of: Number(part('class').value), image: 0, method: 0 });
    state.hidden.clear();
    show();
  });
  part('image').addEventListener('change', () => {
    state.image = Number(part('image').value);
    state.hidden.clear();
    show();
  });
  part('previous').addEventListener('click', () => go(-1));
  part('next').addEventListener('click', () => go(1));
  for (const name of ['opacity', 'cut']) part(name).addEventListener('input', redraw);
  part('threshold').addEventListener('input', () => cutAt(Number(part('threshold').value)));
  part('stage').addEventListener('keydown', event => {
    const acts = {
      ArrowRight: () => go(1), ArrowLeft: () => go(-1),
      ArrowDown: () => turnTo(1), ArrowUp: () => turnTo(-1),
      '+': () => cutAt(levelOf(state.method) + 4), '-': () => cutAt(levelOf(state.method) - 4),
      h: () => { state.heat = !state.heat; redraw(); },
      d: () => {
        const all = image().defects.map((_, number) => number);
        state.hidden = new Set(state.hidden.size ? [] : all);
        for (const box of part('defects').querySelectorAll('input')) box.checked = !state.hidden.size;
        redraw();
      },
    };
    const act = !event.ctrlKey && !event.metaKey && !event.altKey &&
      acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  // a defective image says more at first sight than a good one
  state.image = Math.max(0, current().images.findIndex(each => each.kind !== 'good'));
  addEventListener('hashchange', follow);
  if (!follow()) {
    // pictures are decoded once somebody comes near
    new IntersectionObserver((seen, watcher) => {
      if (!seen.some(one => one.isIntersecting)) return;
      watcher.disconnect();
      if (!decoded) show(true);
    }, { rootMargin: '600px' }).observe(document.getElementById('view'));
  }
})();
