"""Models of anomalib behind our contract. Most of it needs anomalib: `make test-anomalib`."""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from loco_tools import extras
from loco_tools.benchmark.run.planning import check_methods
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import MethodEntry, Suite, folder_name, with_settings
from loco_tools.errors import DefinitionError, MethodError, MissingExtraError
from loco_tools.methods import create, import_path_of, load_detector, method_class
from loco_tools.methods.anomalib.adapter import AnomalibDetector, adapter
from loco_tools.methods.checkpoint import RECORD, TENSORS, Record, read, write
from loco_tools.methods.detector import Prediction
from loco_tools.progress import Advance, Silent

Image = npt.NDArray[np.uint8]
INSTALLED = importlib.util.find_spec("anomalib") is not None
needs_anomalib = pytest.mark.skipif(
    not INSTALLED, reason="anomalib is not installed here; make test-anomalib runs these"
)
SIZE = (64, 96)
SMALL = {"backbone": "resnet18", "pre_trained": False}
BANK: Mapping[str, Any] = {"size_px": 64, "model": {**SMALL, "layers": ["layer1", "layer2"]}}
STEPS: Mapping[str, Any] = {"size_px": 64, "model": SMALL, "max_steps": 6, "batch_size": 4}
CASES: Mapping[str, Mapping[str, Any]] = {
    "Padim": BANK,
    "Dfkde": {"size_px": 64, "model": {**SMALL, "n_pca_components": 4}},
    "Fastflow": STEPS,
    "ReverseDistillation": STEPS,
}
"""A bank of features, one that scores whole images, and two that learn by steps."""


def make_image(seed: int, size: tuple[int, int] = SIZE) -> Image:
    noise = np.random.default_rng(seed).normal(0, 4, (*size, 3))
    y, x = np.mgrid[: size[0], : size[1]]
    texture = 120 + 20 * np.sin(x / 3) + 0.3 * y
    return np.clip(texture[..., None] + noise, 0, 255).astype(np.uint8)


TRAIN = [make_image(seed) for seed in range(8)]
VALIDATION = [make_image(seed) for seed in range(20, 22)]
GOOD = [make_image(30), make_image(31, (80, 120))]


def make(model: str, /, **overrides: Any) -> AnomalibDetector:
    settings = {**CASES.get(model, {}), **overrides}
    made = create(f"anomalib:{model}", backbone=None, overrides=settings)
    assert isinstance(made, AnomalibDetector)
    return made


def fit(model: str, /, seed: int = 0, **overrides: Any) -> AnomalibDetector:
    return make(model, **overrides).fit(TRAIN, VALIDATION, seed=seed)


def assert_equal(first: list[Prediction], second: list[Prediction]) -> None:
    np.testing.assert_allclose([p.score for p in first], [p.score for p in second], rtol=1e-4)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-3, atol=1e-4)


# Without anomalib.


def without_anomalib(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        extras.importlib.util,
        "find_spec",
        lambda name: None if name == "anomalib" else find(name),
    )
    adapter.cache_clear()


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without_anomalib(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"anomalib:Padim.*pip install 'loco-tools\[anom"):
        method_class("anomalib:Padim")


def test_a_saved_model_of_anomalib_asks_for_the_extra_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_anomalib(monkeypatch)
    record = Record(
        method="anomalib:Padim", config={}, backbone=None, input_size=(64, 64), training_log=[]
    )
    write(tmp_path / "model", record, {})
    with pytest.raises(MissingExtraError, match="extra 'anomalib'"):
        load_detector(tmp_path / "model")


def test_its_name_is_a_method_a_folder_and_a_place_for_settings() -> None:
    check_methods([MethodEntry(name="anomalib:Dinomaly")])
    assert folder_name("anomalib:Dinomaly") == "anomalib_Dinomaly"
    assert import_path_of("anomalib:Dinomaly") == "loco_tools.methods.anomalib.adapter:Dinomaly"
    suite = with_settings(
        Suite(methods=["anomalib:Padim"]), {"anomalib:Padim.model": {"layers": ["layer1"]}}
    )
    assert suite.methods[0].overrides == {"model": {"layers": ["layer1"]}}


# With anomalib: names and settings.


@needs_anomalib
def test_a_mistyped_model_is_told_the_nearest_name() -> None:
    with pytest.raises(MethodError, match='no model "Dinomali"; did you mean "Dinomaly"'):
        method_class("anomalib:Dinomali")


@needs_anomalib
def test_models_that_do_not_look_at_images_alone_say_so() -> None:
    with pytest.raises(MethodError, match=r"anomalib:CFM.*point cloud"):
        method_class("anomalib:CFM")


@needs_anomalib
def test_unknown_arguments_of_the_model_and_unknown_fields_are_refused() -> None:
    with pytest.raises(MethodError, match='unknown model argument "layer"; did you mean "layers"'):
        make("Padim", model={"layer": ["layer1"]})
    with pytest.raises(DefinitionError, match="max_step"):
        make("Padim", max_step=3)


@needs_anomalib
def test_weights_that_cannot_be_had_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(MethodError) as error:
        make("Padim", model={}).fit(TRAIN, [], seed=0)
    for part in (
        "no route to host",
        "expected",
        "anomalib:Padim.weights=FILE",
        "pre_trained=false",
    ):
        assert part in str(error.value)


# With anomalib: preprocessing.


@needs_anomalib
@pytest.mark.parametrize(
    ("model", "size", "normalised", "fixed"),
    [
        ("Padim", (256, 256), True, False),
        ("Draem", (256, 256), False, False),
        ("Dinomaly", (392, 392), True, False),
        ("Csflow", (256, 256), True, False),
        ("Uflow", (448, 448), True, True),
    ],
)
def test_each_model_gets_the_transform_that_it_asks_for(
    model: str, size: tuple[int, int], normalised: bool, fixed: bool
) -> None:
    from torchvision.transforms import v2

    from loco_tools.methods.anomalib.adapter import model_class
    from loco_tools.methods.anomalib.transform import transform_of

    own = transform_of(model_class(model))
    assert (own.size, own.fixed) == (size, fixed)
    steps = own.pre_processor((64, 96)).transform.transforms
    assert any(isinstance(step, v2.Normalize) for step in steps) == normalised
    assert not any(isinstance(step, v2.CenterCrop) for step in steps)


@needs_anomalib
def test_a_transformer_s_input_is_a_multiple_of_its_patches() -> None:
    detector = make("AnomalyDINO", size_px=100)
    assert detector._choose_input_size(TRAIN) == (98, 154)


# With anomalib: what the conformance suite asks of every detector.


@needs_anomalib
@pytest.mark.parametrize("model", CASES)
def test_seeds_reproduce_and_maps_have_the_size_of_their_images(model: str) -> None:
    first = list(fit(model).predict(GOOD))
    assert [p.map.shape for p in first] == [(64, 96), (80, 120)]
    assert all(p.map.dtype == np.float32 and np.isfinite(p.score) for p in first)
    assert_equal(first, list(fit(model).predict(GOOD)))


@needs_anomalib
@pytest.mark.parametrize("model", CASES)
def test_a_saved_model_predicts_the_same_and_holds_no_code(model: str, tmp_path: Path) -> None:
    detector = fit(model)
    detector.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {RECORD, TENSORS}
    again = load_detector(tmp_path / "model", device="cpu")
    assert_equal(list(detector.predict(GOOD)), list(again.predict(GOOD)))
    assert again.input_size == detector.input_size
    assert again.training_log == detector.training_log


@needs_anomalib
@pytest.mark.parametrize("model", CASES)
def test_the_batch_size_does_not_change_predictions(model: str, tmp_path: Path) -> None:
    detector = fit(model)
    together = list(detector.predict(GOOD))
    one_by_one = [next(iter(detector.predict([image]))) for image in GOOD]
    assert_equal(together, one_by_one)


@needs_anomalib
@pytest.mark.parametrize("model", ["Padim", "ReverseDistillation"])
def test_a_planted_defect_stands_out(model: str) -> None:
    marked = make_image(40)
    marked[24:40, 56:72] = (250, 40, 30)
    detector = fit(model, **({} if model == "Padim" else {"max_steps": 60}))
    good, bad = detector.predict([make_image(41), marked])
    assert bad.score > good.score
    y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 16 <= y < 48
    assert 48 <= x < 80


@needs_anomalib
def test_training_moves_parameters_and_lowers_the_loss() -> None:
    detector = make("ReverseDistillation", max_steps=40)
    detector.fit(TRAIN, VALIDATION, seed=0)
    losses = [entry["loss"] for entry in detector.training_log if "loss" in entry]
    assert len(losses) == 20  # two steps make an epoch
    assert losses[-1] < 0.7 * losses[0]
    assert "validation" in detector.training_log[-1]


class Counting(Silent):
    """Counts training steps, and may stop the person's patience at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps, self.stop_at = 0, stop_at

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        def advance(count: int) -> None:
            if description.endswith("training"):
                self.steps += count
                if self.steps == self.stop_at:
                    raise KeyboardInterrupt

        yield advance


@needs_anomalib
def test_steps_are_bounded_and_reported() -> None:
    counting = Counting()
    make("ReverseDistillation", max_steps=5).fit(TRAIN, [], seed=0, progress=counting)
    assert counting.steps == 5


@needs_anomalib
def test_a_bank_takes_every_image_whatever_the_bound_on_steps() -> None:
    counting = Counting()
    make("Padim", max_steps=1, batch_size=2).fit(TRAIN, [], seed=0, progress=counting)
    assert counting.steps == 4


@needs_anomalib
def test_an_interruption_comes_through_as_one() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        make("ReverseDistillation").fit(TRAIN, [], seed=0, progress=Counting(stop_at=2))
    assert signal.getsignal(signal.SIGINT) is before


@needs_anomalib
def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit("Padim")
    assert torch.equal(torch.rand(1), expected)


@needs_anomalib
def test_predicting_before_fitting_and_asking_for_features_are_refused() -> None:
    with pytest.raises(MethodError, match="has not been fitted"):
        list(make("Padim").predict(GOOD))
    with pytest.raises(MethodError, match=r'no cut "maps".*leave it out of the ensemble'):
        list(fit("Padim").features(GOOD, "maps"))


@needs_anomalib
def test_a_saved_model_with_an_array_missing_is_refused(tmp_path: Path) -> None:
    fit("ReverseDistillation").save(tmp_path / "model")
    record, arrays = read(tmp_path / "model")
    del arrays[next(key for key in arrays if key.endswith("weight"))]
    write(tmp_path / "model", record, arrays)
    with pytest.raises(MethodError, match="does not hold a complete anomalib:ReverseDistillation"):
        load_detector(tmp_path / "model", device="cpu")


# With anomalib: weights of a local file.


@needs_anomalib
@torch.inference_mode()
def test_torchvision_s_file_fills_timm_s_network_in_order() -> None:
    import timm
    from torchvision import models

    from loco_tools.methods.anomalib.weights import fill_in_order

    torch.manual_seed(0)
    ours = models.mobilenet_v2(weights=None).eval()
    state = {k: v for k, v in ours.state_dict().items() if k.startswith("features")}
    theirs = timm.create_model("mobilenetv2_100", features_only=True).eval()
    fill_in_order(theirs, state)
    pixels = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(theirs(pixels)[2], ours.features[:7](pixels))
    with pytest.raises(MethodError, match=r"do not fit the model's network.*name the network"):
        fill_in_order(timm.create_model("resnet18"), state)


@needs_anomalib
def test_a_model_that_insists_on_weights_takes_them_from_a_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    detector = make("Stfpm", size_px=64, max_steps=2, weights=str(tmp_path / "weights.pth"))
    detector.fit(TRAIN, [], seed=0)
    own = detector.module.state_dict()
    teacher = next(v for k, v in own.items() if "teacher" in k and k.endswith("conv1.weight"))
    assert torch.equal(teacher, state["conv1.weight"])
    detector.save(tmp_path / "model")
    (tmp_path / "weights.pth").unlink()  # a saved model needs it no more
    again = load_detector(tmp_path / "model", device="cpu")
    assert_equal(list(detector.predict(GOOD)), list(again.predict(GOOD)))


# With anomalib: the benchmark.


@needs_anomalib
def test_the_benchmark_runs_it_and_knows_a_finished_cell_again(
    tmp_path: Path, make_loco_class: Any
) -> None:
    suite = Suite(
        methods=[{"name": "anomalib:Padim", "overrides": dict(BANK)}, {"name": "patchcore"}],
        backbone="scattering",
        input_size_px=64,
    )
    data = make_loco_class(size=(64, 96))
    report = run(suite, [data], tmp_path / "out")
    record = report.records[0]
    assert (record.status, record.error, record.stamp.backbone) == ("ok", "", "none")
    assert record.metric("au_spro") is not None
    assert (tmp_path / "out" / "cells" / "anomalib_Padim").is_dir()
    assert run(suite, [data], tmp_path / "out").reused == 2
