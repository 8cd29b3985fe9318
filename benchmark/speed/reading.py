"""Images read per second with their masks, compared with a plain loop with Pillow.

    python benchmark/speed/reading.py --images 60

The script makes a class of full-size MVTec LOCO AD test images (a third of them good, the others
with one or two masks) in a temporary folder. It then decodes every image and mask alternately with
a plain Pillow loop and with `loco_tools.load` (which finds and checks the masks) and `read_ahead`.
It prints one JSON object with the best round of each.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import loco_tools
from loco_tools.datasets.reading import available_cores, read_ahead

SIZE = (1000, 1700)
CONFIG = [
    {
        "defect_name": name,
        "pixel_value": value,
        "saturation_threshold": 1.0,
        "relative_saturation": True,
    }
    for name, value in (("missing_separator", 255), ("broken", 254))
]


def main() -> None:
    """Make the class, read it both ways and print images per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pushpins"
        _make_class(root, options.images)
        loops: dict[str, Callable[[], int]] = {
            "pillow": lambda: _read_with_pillow(root),
            "loco_tools": lambda: _read_with_loco_tools(root, options.threads),
        }
        best = dict.fromkeys(loops, float("inf"))
        cpu = dict.fromkeys(loops, float("inf"))
        for _ in range(options.rounds):
            for name, loop in loops.items():
                start, cpu_start = time.perf_counter(), time.process_time()
                count = loop()
                best[name] = min(best[name], (time.perf_counter() - start) / count)
                cpu[name] = min(cpu[name], (time.process_time() - cpu_start) / count)
    print(
        json.dumps(
            {
                "images": f"{options.images} of {SIZE[1]} x {SIZE[0]}, with masks",
                "threads": options.threads,
                "images_per_second": {name: 1 / seconds for name, seconds in best.items()},
                "cpu_ms_per_image": {name: 1000 * seconds for name, seconds in cpu.items()},
                "ratio": best["pillow"] / best["loco_tools"],
            },
            indent=2,
        )
    )


def _read_with_pillow(root: Path) -> int:
    count = 0
    for path in sorted((root / "test").rglob("*.png")):
        np.asarray(Image.open(path).convert("RGB"))
        masks = root / "ground_truth" / path.parent.name / path.stem
        for mask in sorted(masks.glob("*.png")):
            np.asarray(Image.open(mask))
        count += 1
    return count


def _read_with_loco_tools(root: Path, threads: int) -> int:
    return sum(1 for _ in read_ahead(loco_tools.load(root).test, threads=threads))


def _make_class(root: Path, images: int) -> None:
    """Write smooth pictures with sensor noise by Pillow: about 2.4 MB each."""
    kinds = ("good", "logical_anomalies", "structural_anomalies")
    for number in range(images):
        rng = np.random.default_rng(number)
        kind, name = kinds[number % 3], f"{number // 3:03d}"
        coarse = rng.integers(40, 200, (20, 34, 3)).astype(np.uint8)
        scene = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
        scene += rng.normal(0, 2, scene.shape).astype(np.float32)
        _write(root / "test" / kind / f"{name}.png", scene.clip(0, 255).astype(np.uint8))
        for index in range(0 if kind == "good" else 1 + number % 2):
            mask = np.zeros(SIZE, np.uint8)
            centre = (int(rng.integers(200, 1500)), int(rng.integers(200, 800)))
            cv2.circle(mask, centre, int(rng.integers(20, 150)), 255 - index, -1)
            _write(root / "ground_truth" / kind / name / f"{index:03d}.png", mask)
    (root / "defects_config.json").write_text(json.dumps(CONFIG))


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
