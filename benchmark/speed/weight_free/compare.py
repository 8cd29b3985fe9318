"""Compare backbones without weights, each used by PatchCore, with ImageNet features.

    python benchmark/speed/weight_free/compare.py magnetic_tile/tile --weights mobilenet_v2.pth

fits PatchCore (preset fast, one seed) on each class with a randomly initialised MobileNetV2, with
`scattering`, with `dictionary` and, given its weights, with MobileNetV2's ImageNet features. Prints
a Markdown table of image AUROC per defect type, and of their mean: the share of the gap between
random and ImageNet features that each closes.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from loco_tools.benchmark.cell.record import defect_types
from loco_tools.datasets import load
from loco_tools.datasets.reading import Images
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.splits import hold_out_validation
from loco_tools.methods import create
from loco_tools.methods.backbones import WEIGHT_FREE, Backbone, named_backbone, random_backbone

NETWORK = "mobilenet_v2"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="+", type=Path)
    parser.add_argument("--weights", type=Path, help=f"of {NETWORK}, torchvision's names")
    options = parser.parse_args()
    for path in options.classes:
        dataset = hold_out_validation(load(path), seed=0)
        names = sorted({name for sample in dataset.test for name in defect_types(sample)})
        print(f"\n| {dataset.name} | {' | '.join(names)} | mean | gap closed | fit s | ms/image |")
        print("|---" * (len(names) + 5) + "|")
        rows = {
            title: measured(dataset, backbone) for title, backbone in _backbones(options.weights)
        }
        first, *_, last = (np.mean([*figures.values()]) for figures, _, _ in rows.values())
        for title, (figures, fit_s, image_ms) in rows.items():
            mean = np.mean([*figures.values()])
            closed = f"{(mean - first) / (last - first):.0%}" if options.weights else ""
            each = " | ".join(f"{figures[name]:.3f}" for name in names)
            print(f"| {title} | {each} | {mean:.3f} | {closed} | {fit_s:.0f} | {image_ms:.0f} |")


def measured(dataset: DatasetClass, backbone: Backbone) -> tuple[dict[str, float], float, float]:
    """Image AUROC per defect type, seconds to fit, milliseconds per image."""
    detector = create("patchcore", backbone=backbone, preset="fast")
    began = time.perf_counter()
    detector.fit(Images(dataset.train), Images(dataset.validation), seed=0)
    fitted = time.perf_counter()
    scores = np.array([p.score for p in detector.predict(Images(dataset.test))])
    done = time.perf_counter()
    kinds = [defect_types(sample) for sample in dataset.test]
    good = np.array([not names for names in kinds])
    figures = {}
    for name in sorted({name for names in kinds for name in names}):
        bad = np.array([name in names for names in kinds])
        figures[name] = float(roc_auc_score(bad[good | bad], scores[good | bad]))
    return figures, fitted - began, 1000 * (done - fitted) / len(scores)


def _backbones(weights: Path | None) -> Iterator[tuple[str, Backbone]]:
    yield f"{NETWORK}, random", random_backbone(NETWORK)
    for name in WEIGHT_FREE:
        yield name, named_backbone(name)
    if weights is not None:
        yield f"{NETWORK}, ImageNet", named_backbone(NETWORK, weights)


if __name__ == "__main__":
    main()
