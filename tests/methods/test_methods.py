import subprocess
import sys
from pathlib import Path

import pytest

from loco_tools.errors import DefinitionError, MethodError
from loco_tools.methods import METHODS, create, describe_methods, load_detector, method_class
from loco_tools.methods.backbones import backbone_names, describe_backbones, named_backbone
from loco_tools.methods.patchcore import PatchCore


def test_importing_the_tables_imports_no_torch() -> None:
    code = "import sys, loco_tools.methods, loco_tools.ensembles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_method_is_described_in_one_line_without_importing_it() -> None:
    code = "import sys, loco_tools.methods as methods; methods.describe_methods()"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    described = dict(describe_methods())
    assert list(described) == list(METHODS)
    assert all(line.endswith(".") and 20 < len(line) < 100 for line in described.values())


def test_every_backbone_is_described_in_one_line() -> None:
    described = dict(describe_backbones())
    assert set(described) <= set(backbone_names())
    assert described["resnet18"] == "torchvision, 11.7 M parameters."
    assert all(line.endswith(".") and len(line) < 100 for line in described.values())


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(MethodError, match='unknown method "patchore"; did you mean "patchcore"'):
        method_class("patchore")


def test_a_method_of_your_own_is_named_by_its_place() -> None:
    assert method_class("loco_tools.methods.patchcore:PatchCore") is PatchCore


@pytest.mark.parametrize("name", ["loco_tools.gone:X", "loco_tools.methods.patchcore:Gone"])
def test_a_place_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(MethodError, match="cannot be imported"):
        method_class(name)


def test_a_class_that_is_no_detector_is_an_error() -> None:
    with pytest.raises(MethodError, match=r"expected a subclass of .*SingleDetector"):
        method_class("pathlib:Path")


def test_create_applies_preset_size_resize_and_overrides() -> None:
    made = create(
        "patchcore",
        backbone=named_backbone("scattering"),
        preset="fast",
        overrides={"coreset_ratio": 0.02},
        input_size_px=96,
        resize="square",
    )
    assert isinstance(made, PatchCore)
    assert (made.config.size_px, made.config.resize) == (96, "square")
    assert (made.config.coreset_ratio, made.config.target_dim) == (0.02, 512)


def test_a_value_out_of_range_is_an_error_that_names_it() -> None:
    with pytest.raises(DefinitionError, match=r'method "patchcore": coreset_ratio: .* got 3'):
        create("patchcore", backbone=named_backbone("scattering"), overrides={"coreset_ratio": 3})


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(MethodError, match='unknown device "gpu"; expected auto, cpu or cuda'):
        create("patchcore", backbone=named_backbone("scattering"), device="gpu")


def test_loading_from_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"detector.json: .*expected a folder written by"):
        load_detector(tmp_path)


def test_loading_a_damaged_detector_is_an_error(tmp_path: Path) -> None:
    import numpy as np

    images = [np.zeros((32, 32, 3), np.uint8)]
    made = create("patchcore", backbone=named_backbone("scattering"), input_size_px=32)
    made.fit(images, [], seed=0).save(tmp_path / "kept")
    (tmp_path / "kept" / "detector.safetensors").write_bytes(b"half")
    with pytest.raises(MethodError, match=r"detector.safetensors: .*damaged .*next step: fit"):
        load_detector(tmp_path / "kept")
    with pytest.raises(MethodError, match="expected a fitted simplenet, got a fitted patchcore"):
        method_class("simplenet").load(tmp_path / "kept")
