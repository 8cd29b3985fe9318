"""How long the evaluation of a full-size MVTec LOCO AD class takes, and how much memory.

    python benchmark/speed/evaluation.py --images 300

makes a class with as many test images (a third of them good) and random float32 maps in a
temporary folder, then, each in a process of its own on one core: reads the maps and nothing else
(the floor), and loads the class and evaluates the maps. Prints one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

SIZE = (1000, 1700)
CONFIG = [
    {
        "defect_name": name,
        "pixel_value": value,
        "saturation_threshold": threshold,
        "relative_saturation": relative,
    }
    for name, value, threshold, relative in (
        ("1_additional_pushpin", 255, 6300, False),
        ("missing_separator", 252, 1.0, True),
        ("broken", 250, 1.0, True),
    )
]


def main() -> None:
    """Make the class, run the two processes, print what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument("--cold", action="store_true", help="ask the system to forget the files")
    parser.add_argument("--step", choices=["read", "evaluate"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(_timed(_read if options.step == "read" else _evaluate, options.root)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _make(root, options.images, options.dtype)
        steps = {}
        for step in ("read", "evaluate"):
            if options.cold:
                _forget(root)
            steps[step] = _run(step, root)
    ratio = steps["evaluate"]["seconds"] / steps["read"]["seconds"]
    maps = f"{options.images} of {SIZE[1]} x {SIZE[0]} {options.dtype}"
    print(json.dumps({"maps": maps, **steps, "ratio": ratio}, indent=2))


def _run(step: str, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--step", step, "--root", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _timed(work: Callable[[Path], float], root: Path) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    start, cpu_start = time.perf_counter(), time.process_time()
    headline = work(root)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "headline": headline,
    }


def _read(root: Path) -> float:
    import tifffile

    return float(max(tifffile.imread(path)[0, 0] for path in (root / "maps").rglob("*.tiff")))


def _evaluate(root: Path) -> float:
    import loco_tools

    evaluation = loco_tools.evaluate(root / "maps/pushpins", loco_tools.load(root / "pushpins"))
    return float(evaluation.metrics["localization"]["auc_spro"]["mean"]["0.05"])


def _make(root: Path, images: int, dtype: str) -> None:
    import tifffile

    rng = np.random.default_rng(0)
    data, maps = root / "pushpins", root / "maps/pushpins"
    image = np.zeros(SIZE, np.uint8)
    kinds = ("good", "logical_anomalies", "structural_anomalies")
    for number in range(images):
        kind, name = kinds[number % 3], f"{number // 3:03d}"
        _folders(data / "test" / kind, maps / "test" / kind)
        cv2.imwrite(str(data / "test" / kind / f"{name}.png"), image)
        scores = cv2.resize(rng.random((50, 85), np.float32), SIZE[::-1]) ** 4
        scores += 0.1 * rng.random(SIZE, np.float32)
        if kind != "good":
            masks = data / "ground_truth" / kind / name
            _folders(masks)
            values = (255, 252) if kind == "logical_anomalies" else (250,)
            for value in values[: 1 + number % 2]:
                mask = np.zeros(SIZE, np.uint8)
                centre = (int(rng.integers(200, 1500)), int(rng.integers(200, 800)))
                cv2.circle(mask, centre, int(rng.integers(20, 150)), value, -1)
                cv2.imwrite(str(masks / f"{255 - value:03d}.png"), mask)
                scores[mask > 0] += 0.5 * rng.random(np.count_nonzero(mask), np.float32)
        tifffile.imwrite(maps / "test" / kind / f"{name}.tiff", scores.astype(dtype))
    (data / "defects_config.json").write_text(json.dumps(CONFIG))


def _folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _forget(root: Path) -> None:
    os.sync()
    for path in root.rglob("*.*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
