"""Time and memory of the evaluation of a full-size MVTec LOCO AD class.

    python benchmark/speed/evaluation.py --images 300

The script makes a class with that many test images (a third of them good) and random float32 maps
in a temporary folder. It then runs each step in a process of its own on one core:

- read: read the maps only, uncompressed as loco-tools writes them (a lower bound);
- read_zlib: read 20 maps that are compressed with zlib, as most tools write them;
- evaluate: load the class, which decodes every mask, and evaluate the maps;
- intervals: the same with 1000 bootstrap draws.

Files are in the system's cache unless --cold is given. The script prints one JSON object: seconds,
milliseconds per map, peak memory and ratios. `times_the_official` is the ratio to the 3.89 s per
map of MVTec's evaluator on two cores of such a machine.
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
COMPRESSED = 20
OFFICIAL_MS = 3890.0  # per map of this size: 389 s for 100 of them
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
    """Make the class, run the steps and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument(
        "--cold",
        action="store_true",
        help="drop the files from the system's cache before each step",
    )
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(_measure(STEPS[options.step], options.root)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _make_class(root, options.images, options.dtype)
        steps: dict[str, dict[str, float]] = {}
        for step in STEPS:
            if options.cold:
                _drop_from_cache(root)
            steps[step] = _run_step(step, root)
            count = COMPRESSED if step == "read_zlib" else options.images
            steps[step]["ms_per_map"] = 1000 * steps[step]["seconds"] / min(count, options.images)
    maps = f"{options.images} of {SIZE[1]} x {SIZE[0]} {options.dtype}"
    print(json.dumps({"maps": maps, **steps, "ratios": _ratios(steps)}, indent=2))


def _ratios(steps: dict[str, dict[str, float]]) -> dict[str, float]:
    cost = {step: measured["ms_per_map"] for step, measured in steps.items()}
    return {
        "evaluate_to_read": cost["evaluate"] / cost["read"],
        "evaluate_to_read_if_zlib": 1 + (cost["evaluate"] - cost["read"]) / cost["read_zlib"],
        "intervals_to_evaluate": cost["intervals"] / cost["evaluate"],
        "times_the_official": OFFICIAL_MS / cost["evaluate"],
    }


def _run_step(step: str, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--step", step, "--root", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _measure(work: Callable[[Path], float], root: Path) -> dict[str, float]:
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


def _read(root: Path, folder: str = "maps") -> float:
    import tifffile

    return float(max(tifffile.imread(path)[0, 0] for path in (root / folder).rglob("*.tiff")))


def _read_zlib(root: Path) -> float:
    return _read(root, "zlib")


def _evaluate(root: Path, bootstrap: int = 0) -> float:
    import loco_tools

    dataset = loco_tools.load(root / "pushpins")
    evaluation = loco_tools.evaluate(root / "maps/pushpins", dataset, bootstrap=bootstrap)
    return float(evaluation.metrics["localization"]["auc_spro"]["mean"]["0.05"])


def _evaluate_with_intervals(root: Path) -> float:
    return _evaluate(root, bootstrap=1000)


STEPS: dict[str, Callable[[Path], float]] = {
    "read": _read,
    "read_zlib": _read_zlib,
    "evaluate": _evaluate,
    "intervals": _evaluate_with_intervals,
}


def _make_class(root: Path, images: int, dtype: str) -> None:
    import tifffile

    rng = np.random.default_rng(0)
    data, maps = root / "pushpins", root / "maps/pushpins"
    image = np.zeros(SIZE, np.uint8)
    kinds = ("good", "logical_anomalies", "structural_anomalies")
    for number in range(images):
        kind, name = kinds[number % 3], f"{number // 3:03d}"
        _make_folders(data / "test" / kind, maps / "test" / kind)
        cv2.imwrite(str(data / "test" / kind / f"{name}.png"), image)
        scores = cv2.resize(rng.random((50, 85), np.float32), SIZE[::-1]) ** 4
        scores += 0.1 * rng.random(SIZE, np.float32)
        if kind != "good":
            masks = data / "ground_truth" / kind / name
            _make_folders(masks)
            values = (255, 252) if kind == "logical_anomalies" else (250,)
            for value in values[: 1 + number % 2]:
                mask = np.zeros(SIZE, np.uint8)
                centre = (int(rng.integers(200, 1500)), int(rng.integers(200, 800)))
                cv2.circle(mask, centre, int(rng.integers(20, 150)), value, -1)
                cv2.imwrite(str(masks / f"{255 - value:03d}.png"), mask)
                scores[mask > 0] += 0.5 * rng.random(np.count_nonzero(mask), np.float32)
        tifffile.imwrite(maps / "test" / kind / f"{name}.tiff", scores.astype(dtype))
        if number < COMPRESSED:
            _make_folders(root / "zlib")
            packed = root / "zlib" / f"{number:03d}.tiff"
            tifffile.imwrite(packed, scores.astype(dtype), compression="zlib")
    (data / "defects_config.json").write_text(json.dumps(CONFIG))


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _drop_from_cache(root: Path) -> None:
    os.sync()
    for path in root.rglob("*.*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
