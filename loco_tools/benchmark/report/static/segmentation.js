'use strict';
// What a threshold makes of a small map; the same sums as loco_tools/benchmark/analysis/segmentation.py.
const segmentation = {
  // Mean over defects of min(lit pixels / saturation area, 1); null without defects.
  spro(levels, defects, level) {
    if (!defects.length) return null;
    let sum = 0;
    for (const defect of defects) {
      let lit = 0;
      for (const pixel of defect.pixels) if (levels[pixel] >= level) lit++;
      sum += Math.min(1, lit / defect.saturation);
    }
    return sum / defects.length;
  },

  // The share of the pixels without a defect that are lit.
  falseShare(levels, defects, level) {
    const taken = new Uint8Array(levels.length);
    for (const defect of defects) for (const pixel of defect.pixels) taken[pixel] = 1;
    let free = 0, lit = 0;
    for (let pixel = 0; pixel < levels.length; pixel++) {
      if (taken[pixel]) continue;
      free++;
      if (levels[pixel] >= level) lit++;
    }
    return lit / Math.max(1, free);
  },

  // Whether a pixel has a neighbour that is not in the set, so that it is on its border.
  isBorder(inside, pixel, width, height) {
    const x = pixel % width, y = (pixel - x) / width;
    if (x === 0 || y === 0 || x === width - 1 || y === height - 1) return true;
    return !(inside(pixel - 1) && inside(pixel + 1) && inside(pixel - width) &&
      inside(pixel + width));
  },
};
