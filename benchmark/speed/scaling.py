"""Growth of time, memory and storage with images and ensemble members; coresets from parts.

    OMP_NUM_THREADS=1 python benchmark/speed/scaling.py

The script makes classes of 128 x 192 pixels with smooth random images in a temporary folder and
runs their cells one by one, each in a worker process of its own, so that peak memory is that of
the cell. It then computes a coreset of random rows at once and from the coresets of parts of the
rows. It prints Markdown tables.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from loco_tools.benchmark.cell.record import Cell, CellRecord
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.datasets.images import write_png
from loco_tools.methods.coreset import coreset

SIZE = (128, 192)
TEST_IMAGES = 20  # of each kind
ROWS, DIM, KEPT = 40_000, 128, 2_000
CONFIG = {
    "defect_name": "spot",
    "pixel_value": 255,
    "saturation_threshold": 1.0,
    "relative_saturation": True,
}


def main() -> None:
    """Measure and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for count in options.images:
            _make_class(root / "data" / f"images{count}", count)
        _measure_images(root, options.images)
        _measure_members(root, options.images[0], options.members)
    _measure_coreset()


def _measure_images(root: Path, counts: Sequence[int]) -> None:
    """Two methods with increasing numbers of training images."""
    print(
        "\n| method | train images | fit s | ms/image | peak MB | whole cell s | cell on disk MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for method in ({"name": "patchcore", "preset": "paper"}, {"name": "simplenet"}):
        # with a fixed number of training steps, two counts suffice
        for count in counts if method["name"] == "patchcore" else (counts[0], counts[-1]):
            name = f"images{count}"
            out = root / "runs" / f"{method['name']}{count}"
            (record,) = _run_cells([method], root / "data" / name, out)
            print(_row(record, str(count), _megabytes(Cell(method["name"], name, 0).folder(out))))


def _measure_members(root: Path, images: int, counts: Sequence[int]) -> None:
    """The cell of an ensemble, with increasing numbers of finished members."""
    print("\n| ensemble | members | fit s | ms/image | peak MB | whole cell s | run on disk MB |")
    print("|---|---|---|---|---|---|---|")
    for count in counts:
        out, data = root / "runs" / f"members{count}", root / "data" / f"images{images}"
        members = [
            {"name": "patchcore", "label": f"member{n}", "preset": "paper"} for n in range(count)
        ]
        _run_cells(members, data, out)
        for ensemble in ("ensemble-mean", "ensemble-bank"):
            record = _run_cells([*members, {"name": ensemble}], data, out)[-1]
            print(_row(record, str(count), _megabytes(out)))


def _measure_coreset() -> None:
    """Greedy k-centre selection at once, and from the coresets of parts of the rows."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(500, DIM, generator=generator)
    rows = centres[torch.randint(500, (ROWS,), generator=generator)]
    rows = rows + torch.randn(ROWS, DIM, generator=generator)
    print(f"\n| coreset of {KEPT} of {ROWS} rows | s on one machine | largest distance to it |")
    print("|---|---|---|")
    for parts in (1, 2, 4):
        began, took = time.perf_counter(), []
        kept = []
        for part in rows.chunk(parts):
            kept.append(part[coreset(part, KEPT, seed=0, projection_dim=None)])
            took.append(time.perf_counter() - began)
            began = time.perf_counter()
        union = torch.cat(kept)
        chosen = union if parts == 1 else union[coreset(union, KEPT, seed=0, projection_dim=None)]
        merged_s = 0.0 if parts == 1 else time.perf_counter() - began
        radius = max(float(torch.cdist(b, chosen).amin(dim=1).max()) for b in rows.split(4096))
        title = "at once" if parts == 1 else f"from {parts} parts"
        print(f"| {title} | {max(took):.1f} + {merged_s:.1f} | {radius:.2f} |")


def _run_cells(methods: list[dict[str, str]], data: Path, out: Path) -> list[CellRecord]:
    suite = Suite.model_validate(
        {"methods": methods, "backbone": "scattering", "input_size_px": 128, "preset": "fast"}
    )
    report = run(suite, [data], out)
    if report.failed:
        raise SystemExit(report.failures[0].error)
    return list(report.records)


def _row(record: CellRecord, count: str, megabytes: float) -> str:
    cost = record.cost
    if cost is None:
        raise SystemExit(f"{record.cell}: no cost was measured")
    return (
        f"| {record.stamp.method} | {count} | {cost.fit_s:.1f} | {cost.ms_per_image:.1f} | "
        f"{cost.peak_mb:.0f} | {cost.total_s or 0:.1f} | {megabytes:.1f} |"
    )


def _megabytes(folder: Path) -> float:
    """Size of all files in MB; hard-linked files count once."""
    files = {p.stat().st_ino: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    return sum(files.values()) / 1e6


def _make_class(folder: Path, train: int) -> None:
    rng = np.random.default_rng(train)
    counts = {"train/good": train, "validation/good": 10, "test/good": TEST_IMAGES}
    for folder_name, count in counts.items():
        for number in range(count):
            write_png(folder / folder_name / f"{number:03d}.png", _image(rng))
    for number in range(TEST_IMAGES):
        image, mask = _image(rng), np.zeros(SIZE, np.uint8)
        mask[40:60, 50:80] = 255
        image[mask > 0] = 255
        name = f"structural_anomalies/{number:03d}"
        write_png(folder / "test" / f"{name}.png", image)
        write_png(folder / "ground_truth" / name / "000.png", mask)
    (folder / "defects_config.json").write_text(json.dumps([CONFIG]), encoding="utf-8")


def _image(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(60, 190, (16, 24, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
