"""Weight files, saved detectors and states of unfinished trainings, damaged in every way."""

import io
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import damaged, fuzz, hostile_json, within_bounds
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from loco_tools.errors import MethodError
from loco_tools.methods import create, load_detector, training
from loco_tools.methods.backbones import named_backbone, read_state
from loco_tools.methods.checkpoint import RECORD, TENSORS
from loco_tools.methods.training import Training
from loco_tools.progress import SILENT

STATE = OrderedDict(
    [("module.first.weight", torch.arange(6.0).view(2, 3)), ("count", torch.tensor(3))]
)


def saved(content: Any, **settings: Any) -> bytes:
    target = io.BytesIO()
    torch.save(content, target, **settings)
    return target.getvalue()


PTH = [
    saved(STATE),
    saved({"state_dict": STATE, "epoch": 3}),
    saved({"model": {name: nn.Parameter(value.float()) for name, value in STATE.items()}}),
    saved({name: value.half() for name, value in STATE.items()}),
    saved(STATE, _use_new_zipfile_serialization=False),
    pickle.dumps({"weight": [1.0, 2.0]}),
    b"<!DOCTYPE html><title>404</title>",
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@fuzz(content=damaged(PTH))
def test_a_damaged_pth_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "weights.pth").write_bytes(content)
    with within_bounds():
        read_state(folder / "weights.pth")


@fuzz(content=damaged([save(dict(STATE)), save({"a": torch.ones(3).half()})]))
def test_a_damaged_safetensors_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    with within_bounds():
        read_state(folder / "weights.safetensors")


def saved_detector() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as made:
        detector = create("patchcore", backbone=named_backbone("scattering"), input_size_px=32)
        images = [np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)]
        detector.fit(images, [], seed=0).save(Path(made) / "kept")
        files = [(Path(made) / "kept" / name).read_bytes() for name in (RECORD, TENSORS)]
        return files[0], files[1]


DETECTOR = saved_detector()


@fuzz(which=st.sampled_from([0, 1]), data=st.data())
def test_a_damaged_detector_is_refused_or_the_same(
    folder: Path, which: int, data: st.DataObject
) -> None:
    content = data.draw(damaged([DETECTOR[which]]))
    parts = [*DETECTOR]
    parts[which] = content
    for name, part in zip((RECORD, TENSORS), parts, strict=True):
        (folder / name).write_bytes(part)
    with within_bounds():
        again = load_detector(folder, device="cpu")
        again.save(folder / "again")
        assert (folder / "again" / TENSORS).read_bytes() == DETECTOR[1]


def make_training() -> Training:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    adam = torch.optim.Adam(net.parameters(), lr=0.1)
    return Training("sums", {"net": net}, {"adam": adam}, steps=6, steps_per_epoch=2, seed=0)


def run(made: Training, keep: Path | None = None, stop: int | None = None) -> Any:
    def step(number: int, generator: torch.Generator) -> torch.Tensor:
        if number == stop:
            raise KeyboardInterrupt
        return made.modules["net"](torch.randn(4, 2, generator=generator)).square().mean()

    return made.run(step, progress=SILENT, keep=keep)


def kept_state() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_SAVE_EVERY_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            run(make_training(), Path(made) / "kept", stop=3)
        return {path.name: path.read_bytes() for path in (Path(made) / "kept").iterdir()}


KEPT = kept_state()
UNDISTURBED = run(make_training())


@pytest.mark.parametrize("name", sorted(KEPT))
@fuzz(one_in=2, data=st.data())
def test_a_damaged_state_is_refused_or_ends_as_an_undisturbed_training(
    folder: Path, name: str, data: st.DataObject
) -> None:
    kinds = damaged([KEPT[name]])
    if name.endswith(".json"):
        kinds = kinds | hostile_json([training.loads_json(KEPT[name])])
    keep = folder / "kept"
    keep.mkdir(exist_ok=True)
    for each, content in {**KEPT, name: data.draw(kinds)}.items():
        (keep / each).write_bytes(content)
    with within_bounds():
        assert run(make_training(), keep) == UNDISTURBED


def test_an_undamaged_state_is_taken_up(folder: Path) -> None:
    keep = folder / "whole"
    keep.mkdir()
    for each, content in KEPT.items():
        (keep / each).write_bytes(content)
    assert run(make_training(), keep) == UNDISTURBED
    assert not keep.exists()


def test_the_refusal_of_a_damaged_state_says_what_to_do(folder: Path) -> None:
    keep = folder / "torn"
    keep.mkdir()
    for each, content in KEPT.items():
        (keep / each).write_bytes(content.replace(b"0.", b"1."))
    with pytest.raises(MethodError, match=r"got a damaged one .*remove that folder"):
        run(make_training(), keep)
