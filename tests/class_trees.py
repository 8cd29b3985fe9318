"""Class folders with anything in them, as hypothesis makes them up: for properties and fuzzing."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

TOPS = ["train", "test", "validation", "ground_truth", "val", "test_public", "notes", ".cache"]
FOLDERS = [
    "good",
    "Good",
    "ok",
    "crack",
    "dent2",
    "logical_anomalies",
    "structural_anomalies",
    "rgb",
    "crack/000",
    "logical_anomalies/000",
    "structural_anomalies/001",
    "good/rgb",
]
NAMES = [
    "000.png",
    "001.png",
    "002.PNG",
    "000_mask.png",
    "001_mask.png",
    "000_mask.jpg",
    "000.jpg",
    "001.bmp",
    "003.tif",
    "004.webp",
    "005.jfif",
    "006.heic",
    "a\nb.png",
    "\udcff.png",
    "=1+1.png",
    "._000.png",
    "Thumbs.db",
    "readme.txt",
    "LICENSE",
]
LAYOUT = [
    "train/good/000.png",
    "train/good/001.png",
    "test/good/000.png",
    "test/crack/000.png",
    "ground_truth/crack/000_mask.png",
]
ENTRY = {
    "defect_name": "scratch",
    "pixel_value": 255,
    "saturation_threshold": 1.0,
    "relative_saturation": True,
}
CONFIGS = [
    json.dumps([ENTRY]),
    json.dumps([ENTRY, {**ENTRY, "defect_name": "dent", "pixel_value": 100}]),
    json.dumps([{**ENTRY, "saturation_threshold": 1.4}]),
    json.dumps([{**ENTRY, "saturation_threshold": 1}]),
    json.dumps([ENTRY, ENTRY]),
    json.dumps([{**ENTRY, "colour": "red"}]),
    "[]",
    "[" * 5000,
    '[{"pixel_value": ' + "9" * 5000 + "}]",
]
SIDECARS = [
    '{"image": "train/good/000.png", "part": "p1"}\n{"image": "test/good/000.png", "part": "p1"}\n',
    '{"image": "train/good/000.png"}\n{"image": "train/good/000.png"}\n',
    '{"image": "train/good/000.png", "part": 7}\n',
    "[" * 5000,
    "7\n",
]


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _contents() -> list[bytes]:
    rng = np.random.default_rng(0)
    images = [rng.integers(40, 200, (12, 16, 3)).astype(np.uint8) for _ in range(3)]
    mask = np.zeros((12, 16), np.uint8)
    mask[2:5, 3:9] = 255
    two = mask.copy()
    two[8] = 100
    turned = Image.Exif()
    turned[0x0112] = 3
    found = [encoded(image, "PNG") for image in images]
    found += [encoded(pixels, "PNG") for pixels in (mask, two, 255 - mask, mask * 0, mask[:9])]
    found += [encoded(images[0], kind) for kind in ("JPEG", "BMP", "TIFF", "WEBP")]
    found += [
        encoded(images[1], "JPEG", exif=turned),
        encoded(mask, "JPEG"),
        encoded(np.repeat(mask[..., None], 3, axis=2), "PNG"),
        encoded(images[2][..., 0].astype(np.uint16) * 4, "PNG"),
        encoded(images[2][..., 0].astype(np.float32), "TIFF"),
        found[0][:-20],
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    ]
    return found


CONTENTS = _contents()


def paths() -> st.SearchStrategy[str]:
    made_up = st.tuples(st.sampled_from(TOPS), st.sampled_from(FOLDERS), st.sampled_from(NAMES))
    loose = st.tuples(st.sampled_from(["", *TOPS]), st.sampled_from(NAMES))
    return (
        st.sampled_from(LAYOUT)
        | made_up.map("/".join)
        | loose.map(lambda parts: "/".join(filter(None, parts)))
    )


def trees(
    contents: st.SearchStrategy[bytes] | None = None, texts: Sequence[str] = ()
) -> st.SearchStrategy[dict[str, Any]]:
    """What is in a class folder: path -> bytes, the target of a link, or None for a pipe.

    A sound layout is the base of most; keys with ".." lie next to the class.
    """
    file = st.sampled_from(CONTENTS) if contents is None else contents
    special = st.none() | st.sampled_from(["000.png", "../good", "nowhere", "../..", "/etc"])
    sound = {path: CONTENTS[(0, 1, 2, 2, 3)[number]] for number, path in enumerate(LAYOUT)}
    extra = st.dictionaries(paths(), file, max_size=6)
    odd = st.dictionaries(paths(), special, max_size=1)
    config = st.none() | st.sampled_from([*CONFIGS, *texts]).map(str.encode)
    sidecar = st.none() | st.sampled_from([*SIDECARS, *texts]).map(str.encode)
    lost = st.sets(st.sampled_from(LAYOUT), max_size=2)

    def combined(parts: tuple[Any, ...]) -> dict[str, Any]:
        extras, odds, of_config, of_sidecar, missing, has_base = parts
        tree: dict[str, Any] = dict(sound) if has_base else {}
        tree = {path: content for path, content in tree.items() if path not in missing}
        tree |= extras | odds
        if of_config is not None:
            tree["defects_config.json"] = of_config
        if of_sidecar is not None:
            tree["../part.jsonl"] = of_sidecar
        return tree

    return st.tuples(
        extra,
        odd | st.just({}),
        config,
        sidecar,
        lost,
        st.sampled_from([True] * 3 + [False]),
    ).map(combined)


def build(root: Path, tree: dict[str, Any]) -> Path:
    """Write a tree to `root/part`; what collides with what is already there is left out."""
    folder = root / "part"
    folder.mkdir(parents=True)
    for path, content in tree.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                os.mkfifo(target)
            elif isinstance(content, str):
                target.symlink_to(content)
            else:
                target.write_bytes(content)
        except OSError:
            continue
    return folder
