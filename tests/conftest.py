"""Builders of tiny dataset classes as real files, and a tiny disk, for tests that need one."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from loco_tools.datasets.images import write_png

# the same on every machine, and no trial of another one in the middle of a test
os.environ.setdefault("LOCO_TOOLS_TWIN_VARIANT", "scalar_rgb")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell runs in its background ignores Ctrl-C, and so would every program that a test
    # starts and then interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

CONFIG = [
    {
        "defect_name": "missing_hole",
        "pixel_value": 255,
        "saturation_threshold": 20,
        "relative_saturation": False,
    },
    {
        "defect_name": "extra_hole",
        "pixel_value": 254,
        "saturation_threshold": 0.5,
        "relative_saturation": True,
    },
    {
        "defect_name": "scratch",
        "pixel_value": 100,
        "saturation_threshold": 1.0,
        "relative_saturation": True,
    },
]

Box = tuple[int, int, int, int]  # y, x, height, width


def image_of(size: tuple[int, int], seed: int) -> np.ndarray:
    """(H, W, 3) uint8: a grey gradient with noise, another one for each seed."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 160, size[1])[None, :, None]
    noise = rng.integers(0, 40, (*size, 3))
    return (ramp + noise).astype(np.uint8)


def mask_of(size: tuple[int, int], box: Box, value: int) -> np.ndarray:
    """(H, W) uint8: `value` in the box, 0 elsewhere."""
    mask = np.zeros(size, np.uint8)
    y, x, height, width = box
    mask[y : y + height, x : x + width] = value
    return mask


@pytest.fixture
def make_loco_class(tmp_path: Path) -> Callable[..., Path]:
    """Build a class in MVTec LOCO AD layout and return its folder.

    `logical` and `structural` give, per image, the pixel values of its masks; the n-th mask is a
    box of 5 x 8 pixels that starts 12 n pixels from the left.
    """

    def make(
        name: str = "plate",
        *,
        root: Path | None = None,
        size: tuple[int, int] = (32, 48),
        train: int = 4,
        validation: int = 2,
        good: int = 3,
        logical: Sequence[Sequence[int]] = ((255,), (255, 254)),
        structural: Sequence[Sequence[int]] = ((100,), (100,)),
        config: Any = CONFIG,
    ) -> Path:
        folder = (root or tmp_path / "data") / name
        seeds = iter(range(10**6))
        for place, count in (
            ("train/good", train),
            ("validation/good", validation),
            ("test/good", good),
        ):
            for number in range(count):
                write_png(folder / place / f"{number:03d}.png", image_of(size, next(seeds)))
        for kind, images in (("logical_anomalies", logical), ("structural_anomalies", structural)):
            for number, values in enumerate(images):
                image = image_of(size, next(seeds))
                for index, value in enumerate(values):
                    box = (4 + number, 2 + 12 * index, 5, 8)
                    mask = mask_of(size, box, value)
                    image[mask > 0] = 255
                    path = folder / "ground_truth" / kind / f"{number:03d}" / f"{index:03d}.png"
                    write_png(path, mask)
                write_png(folder / "test" / kind / f"{number:03d}.png", image)
        (folder / "defects_config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.fixture
def make_ad_class(tmp_path: Path) -> Callable[..., Path]:
    """Build a class in MVTec AD layout and return its folder; each mask is one box of 5 x 8."""

    def make(
        name: str = "bottle",
        *,
        root: Path | None = None,
        size: tuple[int, int] = (32, 48),
        train: int = 6,
        validation: int = 0,
        good: int = 3,
        defects: dict[str, int] | None = None,
        mask_name: str = "{stem}_mask.png",
        suffix: str = ".png",
        gray: bool = False,
    ) -> Path:
        folder = (root or tmp_path / "data") / name
        seeds = iter(range(10**6))

        def write(path: Path, image: np.ndarray) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[..., 0] if gray else image[..., ::-1])

        for place, count in (
            ("train/good", train),
            ("validation/good", validation),
            ("test/good", good),
        ):
            for number in range(count):
                path = folder / place / f"{number:03d}{suffix}"
                write(path, image_of(size, next(seeds)))
        for defect, count in ({"crack": 2, "scratch2": 1} if defects is None else defects).items():
            for number in range(count):
                stem, image = f"{number:03d}", image_of(size, next(seeds))
                mask = mask_of(size, (4 + number, 2, 5, 8), 255)
                image[mask > 0] = 255
                write_png(folder / "ground_truth" / defect / mask_name.format(stem=stem), mask)
                write(folder / "test" / defect / f"{stem}{suffix}", image)
        return folder

    return make


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KiB; mounting one needs an administrator on Linux."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
