"""Detectors of one's own: found in the current folder, saved and loaded by the name given."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

from loco_tools.ensembles import ENSEMBLES, create_ensemble, load_ensemble
from loco_tools.errors import MethodError
from loco_tools.methods import MapDetector, create, load_detector, method_class, plugins
from loco_tools.methods.backbones import named_backbone
from loco_tools.methods.detector import Detector, SingleDetector
from loco_tools.testing.detectors import GOOD, TRAIN, VALIDATION, check_detector, peak, with_defect

COLOUR = """
    import numpy as np
    from loco_tools.methods import MapDetector

    class Colour(MapDetector):
        '''Distance of every pixel to the mean colour.'''

        def fit(self, images, *, seed):
            self.mean = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)

        def score(self, image):
            return np.linalg.norm(image - self.mean, axis=2)
"""


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process in an empty folder that was asked for no plug-in yet."""
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(path: str, source: str) -> None:
    Path(path).write_text(dedent(source), encoding="utf-8")


def fit(name: str) -> SingleDetector:
    return create(name, backbone=None, input_size_px=64).fit(TRAIN, VALIDATION, seed=0)


def test_a_file_in_the_current_folder_is_found_and_conforms() -> None:
    write("my_colours.py", COLOUR)
    check_detector("my_colours:Colour")


def test_a_class_in_hand_can_be_checked() -> None:
    check_detector(Redness)


class Redness(MapDetector):
    """How much redder than on average."""

    def fit(self, images: Any, *, seed: int) -> None:
        self.mean = float(np.mean([redness(image).mean() for image in images]))

    def score(self, image: Any) -> Any:
        return redness(image) - self.mean


def redness(image: Any) -> Any:
    return image[..., 0] - image[..., 2].astype(float)


def test_the_check_lists_everything_that_fails() -> None:
    write(
        "careless.py",
        """
        import numpy as np
        from loco_tools.methods import MapDetector

        class Careless(MapDetector):
            def fit(self, images, *, seed):
                self.seen = object()

            def score(self, image):
                image[:] = 0
                return np.zeros(image.shape[:2])
        """,
    )
    with pytest.raises(AssertionError) as caught:
        check_detector("careless:Careless")
    message = str(caught.value)
    assert message.startswith("careless:Careless fails 5 of 13 checks:\n- images are not modified:")
    assert "scores are finite and vary: expected different scores, got [0.0, 0.0, 0.0]" in message
    assert "attribute seen holds a object, which cannot be saved" in message


def test_an_unknown_file_names_the_folders_searched(tmp_path: Path) -> None:
    with pytest.raises(MethodError) as caught:
        method_class("gone:Colour")
    assert f"there is no gone.py in any of the folders searched ({sys.path[0]}" in str(caught.value)
    assert f"{tmp_path}); next step: run the command in the folder of the" in str(caught.value)
    assert str(tmp_path) not in sys.path


def test_a_package_that_lacks_something_is_not_called_missing_and_sys_exit_ends_nothing() -> None:
    Path("kennel").mkdir()
    write("kennel/colours.py", COLOUR)
    for source, message in (
        (
            "import no_such_library",
            r"kennel/__init__\.py, line 1 raises ModuleNotFoundError: No mod",
        ),
        ("1 / 0", r"kennel/__init__\.py, line 1 raises ZeroDivisionError: division"),
        ("import sys; sys.exit(0)", r"kennel/__init__\.py, line 1 raises SystemExit: 0; next step"),
    ):
        write("kennel/__init__.py", source)
        with pytest.raises(MethodError, match=message):
            method_class("kennel.colours:Colour")


def test_an_unknown_class_names_the_nearest() -> None:
    write("my_colours.py", COLOUR)
    with pytest.raises(MethodError, match='no class "Color"; did you mean "Colour"'):
        method_class("my_colours:Color")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\nimport gone_too\n", r"broken.py, line 2 raises ModuleNotFoundError: No module named"),
        ("x = 1\nreturn\n", r"broken.py, line 2 raises SyntaxError"),
        ("a = 1\nb = a / 0\n", r"broken.py, line 2 raises ZeroDivisionError: division by zero"),
    ],
)
def test_an_exception_inside_the_file_is_told_with_its_line(source: str, message: str) -> None:
    write("broken.py", source)
    with pytest.raises(MethodError, match=message):
        method_class("broken:Detector")


def test_a_map_detector_that_lacks_a_method_is_one_clear_error() -> None:
    write("half.py", COLOUR.partition("        def score")[0])
    with pytest.raises(MethodError, match="class Colour lacks score, which a subclass of MapDet"):
        method_class("half:Colour")


def test_a_single_detector_that_lacks_methods_is_one_clear_error() -> None:
    write(
        "half_single.py",
        """
        from loco_tools.methods.detector import SingleDetector

        class Half(SingleDetector):
            name = "half"
            cuts = ()

            def _tensors(self):
                return {}
        """,
    )
    with pytest.raises(MethodError) as caught:
        method_class("half_single:Half")
    assert (
        "class Half lacks _fit, _restore, cut_batch, cut_shape, score_batch, Config, PRESETS, "
        "which a subclass of SingleDetector defines" in str(caught.value)
    )


def test_an_unknown_category_names_the_nearest() -> None:
    write(
        "my_colours.py",
        COLOUR.replace("        def fit", '        category = "flows"\n\n        def fit'),
    )
    with pytest.raises(MethodError, match='unknown category "flows"; did you mean "flow"'):
        method_class("my_colours:Colour")


def test_a_saved_plug_in_keeps_its_name_and_loads_after_it_was_named(tmp_path: Path) -> None:
    write("my_colours.py", COLOUR)
    detector = fit("my_colours:Colour")
    detector.save(tmp_path / "saved")
    expected = [p.score for p in detector.predict(GOOD)]
    assert '"method": "my_colours:Colour"' in (tmp_path / "saved" / "detector.json").read_text()
    assert [p.score for p in load_detector(tmp_path / "saved").predict(GOOD)] == expected


def test_a_plug_in_that_nobody_named_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("my_colours.py", COLOUR)
    detector = fit("my_colours:Colour")
    detector.save(tmp_path / "saved")
    monkeypatch.setattr(plugins, "_named", {})
    del sys.modules["my_colours"]
    with pytest.raises(MethodError) as caught:
        load_detector(tmp_path / "saved")
    assert 'next step: load it with plugins=["my_colours:Colour"]' in str(caught.value)
    assert "my_colours" not in sys.modules
    loaded = load_detector(tmp_path / "saved", plugins=["my_colours:Colour"])
    assert [p.score for p in loaded.predict(GOOD)] == [p.score for p in detector.predict(GOOD)]


def test_everything_that_fit_keeps_comes_back(tmp_path: Path) -> None:
    write(
        "keeper.py",
        """
        import threading
        import numpy as np, torch
        from loco_tools.methods import MapDetector

        class Keeper(MapDetector):
            def __init__(self):
                self.lock = threading.Lock()
                self.counts = []

            def fit(self, images, *, seed):
                self.counts.append(len(images))
                self.kept = {
                    "words": ("a", None, True), 3: [1, 2.5, {"deep": np.arange(6).reshape(2, 3)}],
                    (1, 2): np.float32(0.5),
                }
                self.tensor = torch.eye(2)
                self.infinite = float("inf")

            def score(self, image):
                return image.mean(axis=2) / self.kept[3][1]
        """,
    )
    detector = fit("keeper:Keeper")
    detector.save(tmp_path / "saved")
    author: Any = load_detector(tmp_path / "saved", device="cpu").author  # type: ignore[attr-defined]
    assert author.counts == [8]
    assert author.kept["words"] == ("a", None, True)
    np.testing.assert_array_equal(author.kept[3][2]["deep"], [[0, 1, 2], [3, 4, 5]])
    assert author.kept[1, 2] == 0.5
    assert torch.equal(author.tensor, torch.eye(2))
    assert author.infinite == float("inf")
    assert author.lock.acquire(blocking=False)
    assert detector.parameter_count() == 6 + 4


@pytest.mark.parametrize(
    ("result", "got"),
    [
        ("np.zeros((3, 4, 5))", r"got shape \(3, 4, 5\) float64"),
        ("np.zeros((64, 97))", r"at most 64 x 96 as in the image, got shape \(64, 97\)"),
        ("np.full((64, 96), np.nan)", r"got shape \(64, 96\) float64 with NaN or infinity"),
        ("None", r"got shape \(\) object"),
        ("'high'", r"got shape \(\) <U4"),
    ],
)
def test_a_score_that_is_no_map_is_one_clear_error(result: str, got: str) -> None:
    write("odd.py", COLOUR.replace("np.linalg.norm(image - self.mean, axis=2)", result))
    detector = fit("odd:Colour")
    with pytest.raises(MethodError, match=rf"Colour.score: expected an \(H, W\) array .*{got}"):
        list(detector.predict(GOOD))


def test_an_image_score_can_be_defined_and_must_be_finite() -> None:
    mean = "\n        def image_score(self, image, score_map):\n            return {}\n"
    write("means.py", COLOUR + mean.format("score_map.mean()"))
    write("nans.py", COLOUR + mean.format("float('nan')"))
    (prediction,) = fit("means:Colour").predict(GOOD[:1])
    assert prediction.score == pytest.approx(prediction.map.mean())
    with pytest.raises(MethodError, match=r"Colour.image_score: expected a finite number, got nan"):
        list(fit("nans:Colour").predict(GOOD))


def test_a_smaller_map_is_upsampled() -> None:
    write("small.py", COLOUR.replace("axis=2)", "axis=2)[::4, ::4]"))
    (prediction,) = fit("small:Colour").predict([with_defect(GOOD[0], 24, 48)])
    assert prediction.map.shape == (64, 96)
    assert prediction.map[26:36, 50:60].min() > 2 * prediction.map[:16].max()


def test_features_at_a_cut_of_its_own() -> None:
    cut = "\n        cuts = {'rgb': 3}\n"
    cut += "\n        def features(self, image, cut):\n            return image\n"
    write("cutting.py", COLOUR + cut)
    detector = fit("cutting:Colour")
    assert detector.cuts == ("rgb", "score map")
    (features,) = detector.features(GOOD, "rgb")
    assert features.shape == (3, 3, 8, 12)
    assert float(features[0, 0].mean()) == pytest.approx(GOOD[0][..., 0].mean(), rel=1e-3)


def test_backbone_features_need_a_backbone() -> None:
    with pytest.raises(MethodError, match="Redness has no backbone; next step: set needs_back"):
        Redness().backbone_features(GOOD[0])


def test_members_share_the_pass_of_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    from loco_tools.methods.batch import Batch

    write(
        "texture.py",
        COLOUR.replace("image.mean(", "self.backbone_features(image).mean(")
        .replace("norm(image", "norm(self.backbone_features(image)")
        .replace("        def fit", "        needs_backbone = True\n\n        def fit"),
    )
    backbone, calls = named_backbone("scattering"), []
    members = [
        create(name, backbone=backbone, input_size_px=64).fit(TRAIN, [], seed=0)
        for name in ("texture:Colour", "patchcore")
    ]
    real = backbone.maps
    monkeypatch.setattr(backbone, "maps", lambda *x: calls.append(1) or real(*x))
    batch = Batch(GOOD)
    for member in members:
        member.score_batch(batch)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ENSEMBLES)
def test_a_map_detector_is_a_member_of_every_ensemble(name: str, tmp_path: Path) -> None:
    write("my_colours.py", COLOUR)
    members: dict[str, Detector] = {"colour": fit("my_colours:Colour"), "dark": fit_patchcore()}
    few = {"bags": 2} if name == "ensemble-bag" else {}
    if name in ("ensemble", "ensemble-independent", "ensemble-bank", "ensemble-gaussian"):
        few = {"steps": 5, "hidden_dim": 16, "anomalies": 2, "varied": 2, "weighing": 4}
        few |= {"components": 16, "bank_size": 100}
    else:
        few |= {"synthetic": 14}
    ensemble = create_ensemble(members, name, overrides=few).fit(TRAIN, VALIDATION, seed=0)
    ensemble.save(tmp_path / "saved")
    predicted = list(ensemble.predict([*GOOD, with_defect(GOOD[0], 24, 40)]))
    assert predicted[-1].score >= max(p.score for p in predicted[:-1])
    y, x = peak(predicted[-1])
    assert 20 <= y < 42
    assert 36 <= x < 58
    loaded = load_ensemble(tmp_path / "saved", device="cpu")
    assert [p.score for p in loaded.predict(GOOD)] == [p.score for p in predicted[:-1]]


def fit_patchcore() -> Detector:
    small = {"pretrain_dim": 64, "target_dim": 64}
    return create(
        "patchcore", backbone=named_backbone("scattering"), overrides=small, input_size_px=64
    ).fit(TRAIN, VALIDATION, seed=0)


def test_a_saved_ensemble_asks_for_the_plug_ins_of_its_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("my_colours.py", COLOUR)
    ensemble = create_ensemble({"colour": fit("my_colours:Colour")}, "ensemble-mean")
    ensemble.fit(TRAIN, VALIDATION, seed=0).save(tmp_path / "saved")
    monkeypatch.setattr(plugins, "_named", {})
    with pytest.raises(MethodError, match=r"load it with plugins=\[\"my_colours:Colour\"\]"):
        load_ensemble(tmp_path / "saved")
    load_ensemble(tmp_path / "saved", plugins=["my_colours:Colour"])


def test_importing_the_base_class_imports_no_torch() -> None:
    code = (
        "import sys; from loco_tools.methods import MapDetector; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
