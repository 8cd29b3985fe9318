import time
from pathlib import Path

import pytest
import torch
from torch import nn

from loco_tools.errors import MethodError
from loco_tools.methods.backbones import (
    TorchvisionBackbone,
    backbone_for,
    named_backbone,
    random_backbone,
    resolve_backbone,
    weight_files,
)


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, description: str, total: int | None = None) -> None:
        raise AssertionError

    def note(self, message: str) -> None:
        self.lines.append(message)


def cut_off(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(weight_files, "_server_answers", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))


def save_state(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("name", "stages", "channels"),
    [
        ("resnet18", ("layer2", "layer3"), (128, 256)),
        ("mobilenet_v2", ("features.6", "features.13"), (32, 96)),
        ("squeezenet1_1", ("features.7", "features.12"), (256, 512)),
        ("efficientnet_b0", ("features.3", "features.5"), (40, 112)),
        ("regnet_y_400mf", ("trunk_output.block2", "trunk_output.block3"), (104, 208)),
    ],
)
def test_taps_are_the_last_stages_with_strides_8_and_16(
    name: str, stages: tuple[str, ...], channels: tuple[int, ...]
) -> None:
    backbone = random_backbone(name)
    shallow, deep = backbone.taps(torch.zeros(1, 3, 64, 96))
    assert isinstance(backbone, TorchvisionBackbone)
    assert (backbone.stages, backbone.channels) == (stages, channels)
    assert (shallow.shape[1], deep.shape[1]) == channels
    assert shallow.shape[2] == pytest.approx(8, abs=1)
    assert deep.shape[3] == pytest.approx(6, abs=1)


def test_wide_resnet50_2_up_to_layer3_has_the_published_number_of_parameters() -> None:
    backbone = random_backbone("wide_resnet50_2")
    assert sum(p.numel() for p in backbone.parameters()) == 24_862_528
    assert not any(p.requires_grad for p in backbone.parameters())
    assert backbone.tag == "wide_resnet50_2:none"


def test_a_file_of_torchvision_names_fills_everything_and_gives_its_tag(tmp_path: Path) -> None:
    source = random_backbone("squeezenet1_1")
    state = {k: v + 0.01 for k, v in source.net.state_dict().items()}
    path = save_state(tmp_path / "weights.pth", {**state, "classifier.1.bias": torch.ones(3)})
    backbone = named_backbone("squeezenet1_1", path)
    loaded = backbone.net.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert len(backbone.weights) == 12
    assert backbone.tag == f"squeezenet1_1:{backbone.weights}"


def test_batch_norms_folded_into_convolutions_give_the_same_features(tmp_path: Path) -> None:
    whole = random_backbone("resnet18")
    for module in whole.net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    folded = {}
    for name, conv in whole.net.named_modules():
        if isinstance(conv, nn.Conv2d):
            after = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
            norm = whole.net.get_submodule(after)
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            folded[f"{name}.weight"] = conv.weight * gain[:, None, None, None]
            folded[f"{name}.bias"] = norm.bias - norm.running_mean * gain
    backbone = named_backbone("resnet18", save_state(tmp_path / "folded.pth", folded))
    pixels = torch.randn(1, 3, 64, 64)
    for ours, expected in zip(backbone.taps(pixels), whole.taps(pixels), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_a_file_that_fills_nothing_names_missing_parameters(tmp_path: Path) -> None:
    path = save_state(tmp_path / "other.pth", {"encoder.weight": torch.zeros(3)})
    with pytest.raises(
        MethodError,
        match=r"other.pth: does not fit mobilenet_v2, .* missing .*"
        r"first: features.0.0.weight.*next step: name the backbone",
    ):
        named_backbone("mobilenet_v2", path)


def test_a_file_that_lacks_one_parameter_is_refused(tmp_path: Path) -> None:
    state = random_backbone("squeezenet1_1").net.state_dict()
    del state["features.6.squeeze.bias"]
    path = save_state(tmp_path / "partial.pth", state)
    with pytest.raises(MethodError, match=r"1 of \d+ parameters are missing .*6.squeeze.bias"):
        named_backbone("squeezenet1_1", path)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(
        MethodError, match=r"expected a state dict, got a pickled object .* execute code; next"
    ):
        named_backbone("resnet18", tmp_path / "model.pth")


def test_missing_and_damaged_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"gone.pth: no such weight file"):
        named_backbone("resnet18", tmp_path / "gone.pth")
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"\x00noise")
        with pytest.raises(MethodError, match=rf"{name}: expected a (plain )?state dict"):
            named_backbone("resnet18", tmp_path / name)


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(MethodError, match='unknown backbone "resnet81"; did you mean "resnet'):
        resolve_backbone("resnet81")


def test_a_transformer_is_refused_with_a_next_step() -> None:
    with pytest.raises(MethodError, match=r'"vit_b_16" has no convolutional stages.*next step'):
        random_backbone("vit_b_16")


def test_scattering_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match='"scattering" takes no weights'):
        resolve_backbone("scattering", tmp_path / "x.pth")


def test_without_weights_the_default_falls_back_to_scattering_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_off(monkeypatch, tmp_path)
    notes = Notes()
    assert resolve_backbone(None, None, notes).tag == "scattering:none"
    (line,) = notes.lines
    assert "wide_resnet50_2 are neither cached nor downloadable: going on with" in line
    assert "backbone scattering" in line
    assert "\n" not in line


def test_a_backbone_asked_for_by_name_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_off(monkeypatch, tmp_path)
    with pytest.raises(
        MethodError, match=r"resnet18 are neither .* next step: --backbone resnet18"
    ):
        resolve_backbone("resnet18")


def test_an_unreachable_server_is_given_up_quickly() -> None:
    start = time.monotonic()
    assert not weight_files._server_answers("http://127.0.0.1:9/weights.pth")
    assert time.monotonic() - start < 5


def test_a_saved_detectors_backbone_is_found_again_or_asked_for() -> None:
    given = random_backbone("squeezenet1_1")
    assert backbone_for("squeezenet1_1:none", given, origin="here") is given
    assert backbone_for("scattering:none", None, origin="here").name == "scattering"
    with pytest.raises(MethodError, match="here: was fitted with backbone a:b, got squeezenet1_1"):
        backbone_for("a:b", given, origin="here")
    with pytest.raises(MethodError, match=r"--backbone resnet18 --weights FILE"):
        backbone_for("resnet18:0123456789ab", None, origin="here")


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [
        ("wide_resnet50_2", 4, 256),
        ("wide_resnet50_2", 32, 2048),
        ("efficientnet_b5", 32, 304),
        ("mobilenet_v2", 32, 160),
    ],
)
def test_maps_at_other_strides_come_from_other_parts_of_the_network(
    name: str, stride: int, channels: int
) -> None:
    backbone = random_backbone(name)
    deep, one = backbone.maps(torch.zeros(1, 3, 64, 96), (16, stride))
    assert backbone.channels_at(stride) == one.shape[1] == channels
    assert one.shape[2:] == (64 // stride, 96 // stride)
    torch.testing.assert_close(deep, backbone.taps(torch.zeros(1, 3, 64, 96))[1])


def test_a_file_without_the_deepest_stages_does_without_them(tmp_path: Path) -> None:
    whole = random_backbone("resnet18")
    truncated = save_state(tmp_path / "truncated.pth", whole.net.state_dict())
    backbone = named_backbone("resnet18", truncated)
    assert (whole.strides, backbone.strides) == ((4, 8, 16, 32), (4, 8, 16))
    with pytest.raises(MethodError, match="no feature map at stride 32, only at 4, 8, 16; next"):
        backbone.maps(torch.zeros(1, 3, 64, 64), (32,))


def test_deeper_stages_take_their_weights_from_the_file(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    source = resnet18(weights=None).eval()
    backbone = named_backbone("resnet18", save_state(tmp_path / "all.pth", source.state_dict()))
    pixels = torch.randn(1, 3, 64, 64)
    (deep,) = backbone.maps(pixels, (32,))
    with torch.inference_mode():
        logits = source.fc(deep.mean(dim=(2, 3)))
        torch.testing.assert_close(logits, source(pixels))


def test_a_weight_free_backbone_says_which_strides_it_has() -> None:
    with pytest.raises(MethodError, match="scattering has no feature map at stride 4, only at 8"):
        named_backbone("scattering").maps(torch.zeros(1, 3, 64, 64), (4,))


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_a_map_is_all_of_its_stage_with_the_sum_or_stack_that_ends_it(name: str) -> None:
    from torchvision.models import get_model

    backbone = random_backbone(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stages = get_model(name, weights=None).eval().features
    assert isinstance(stages, nn.Sequential)
    pixels = torch.randn(1, 3, 64, 96)
    for stride, last in {
        "squeezenet1_1": {8: 7, 16: 12},
        "mobilenet_v2": {8: 6, 16: 13, 32: 16},
    }[name].items():
        with torch.inference_mode():
            expected = stages[: last + 1](pixels)
        torch.testing.assert_close(backbone.maps(pixels, (stride,))[0], expected)
