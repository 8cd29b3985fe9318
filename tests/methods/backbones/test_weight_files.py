import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from loco_tools.errors import MethodError
from loco_tools.methods.backbones import read_state, weight_files
from loco_tools.methods.backbones.weight_files import torchvision_state
from loco_tools.progress import SILENT

STATE = {
    "features.weight": torch.arange(6.0).view(2, 3) / 4,
    "norm.num_batches_tracked": torch.tensor(3),
}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def under(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        under("module."),
        under("backbone."),
        under("module.backbone."),
        {"state_dict": under("module."), "epoch": 3},
        {"model": STATE, "optimizer": {"lr": 0.1}},
        {"model_state_dict": STATE},
        {"features.weight": nn.Parameter(STATE["features.weight"]), **STATE},
        {name: value.half() if value.ndim else value for name, value in STATE.items()},
        {name: value.bfloat16() if value.ndim else value for name, value in STATE.items()},
    ],
)
def test_every_usual_form_of_a_state_dict_is_read(
    content: Mapping[str, Any], tmp_path: Path
) -> None:
    read = read_state(saved(tmp_path / "weights.pth", content))
    assert read.keys() == STATE.keys()
    for name, value in STATE.items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=0)


def test_safetensors_and_the_format_before_torch_1_6_are_read(tmp_path: Path) -> None:
    save_file(under("module."), tmp_path / "weights.safetensors")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("weights.safetensors", "old.pth"):
        assert read_state(tmp_path / name).keys() == STATE.keys()


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file; next step"),
        (b"\n<html>404</html>", "got a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "next step: run git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" * 9, "got a damaged file or one of another format"),
        (nn.Linear(2, 1), r"a pickled object \(torch.nn.modules.linear.Linear\), such as a whole"),
        ({"state_dict": STATE, "x": Evil()}, r"got a pickled object \(\w+.mkdir\)"),
        ({"w": torch.tensor([1.0, float("nan")])}, 'got NaN or infinity in "w"'),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "expected real numbers"),
        ({"optimizer": {}, "epoch": 3}, r"other entries than tensors \(optimizer\)"),
        ({}, "dict without tensors"),
        ([torch.ones(2)], "list without tensors"),
    ],
)
def test_what_is_no_state_dict_is_named_and_never_executed(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        saved(path, content)
    with pytest.raises(MethodError, match=rf"weights.pth: expected a state dict, .*{message}"):
        read_state(path)
    assert not Path("executed").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_file_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), tmp_path / "script.pt")
    with pytest.raises(MethodError, match="got a TorchScript program"):
        read_state(tmp_path / "script.pt")


@pytest.mark.parametrize("old", [False, True])
def test_a_tensor_that_claims_more_than_the_file_has_is_refused(old: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.ones(77)}, path, _use_new_zipfile_serialization=not old)
    content = path.read_bytes()
    assert content.count(b"K\x4d") >= 1  # pickled 77
    path.write_bytes(content.replace(b"K\x4d", b"K\xff"))
    with pytest.raises(MethodError, match="got a damaged file"):
        read_state(path)


def test_a_download_whose_hash_is_not_that_of_its_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weight_files, "_server_answers", lambda url: False)
    (tmp_path / "checkpoints").mkdir()
    saved(tmp_path / "checkpoints" / "resnet18-f37072fd.pth", STATE)
    with pytest.raises(MethodError, match=r"SHA-256 begins with f37072fd.*remove that file"):
        torchvision_state("resnet18", SILENT)


def test_damaged_bytes_are_noticed_wherever_they_are(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", STATE)
    content = path.read_bytes()
    for at in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        with contextlib.suppress(MethodError):
            read_state(path)
