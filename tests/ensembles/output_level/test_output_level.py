from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.ensembles import ENSEMBLES, OUTPUT_LEVEL, create_ensemble, load_ensemble
from loco_tools.ensembles.output_level import COMBINERS
from loco_tools.ensembles.output_level.bagging import Resampled
from loco_tools.ensembles.output_level.calibrators import CALIBRATORS
from loco_tools.ensembles.output_level.ensemble import OutputConfig, OutputFusion
from loco_tools.errors import DefinitionError, MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import Backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import (
    CutShape,
    Detector,
    PatchScores,
    SingleConfig,
    SingleDetector,
)
from loco_tools.progress import SILENT, Progress, Silent
from loco_tools.synthesis.families import FAMILIES

Image = npt.NDArray[np.uint8]
OUTPUTS = [name for name, named in ENSEMBLES.items() if named.import_path == OUTPUT_LEVEL]
FEW = {"synthetic": 14, "patches": 2000}


class LevelConfig(SingleConfig):
    size_px: int = 32
    gain: float = 1.0
    cells: int = 4
    channel: int = 0


class Level(SingleDetector):
    """Scores patches by one colour's mean level times a gain; an image by its highest patch."""

    name = "level"
    Config = LevelConfig
    config: LevelConfig
    cuts = ("level",)
    needs_backbone = False
    PRESETS = {"paper": {}, "fast": {}}  # noqa: RUF012

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        del validation, seed, progress
        self.seen = [int(image.mean()) for image in train]

    def score_batch(self, batch: Batch) -> PatchScores:
        level = batch.rgb(self.input_size)[:, self.config.channel]
        cells = torch.nn.functional.adaptive_avg_pool2d(level, self.config.cells)
        patches = self.config.gain * cells
        return PatchScores(image=patches.flatten(1).amax(dim=1), patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        return CutShape(1, 8)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        return batch.rgb(self.input_size)

    def _tensors(self) -> dict[str, Tensor]:
        return {}

    def _restore(self, tensors: Any) -> None:
        del tensors


def flat(level: int, *, bright: tuple[int, int] | None = None, channel: int = 0) -> Image:
    """A grey picture 32 x 32, perhaps with a bright 8 x 8 cell in one colour."""
    image = np.full((32, 32, 3), level, np.uint8)
    if bright is not None:
        y, x = bright
        image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8, channel] = 250
    return image


GOOD = [flat(level) for level in (90, 100, 110, 120)]


def make_level(**settings: Any) -> Level:
    detector = Level(LevelConfig(**settings), None, device="cpu")
    return detector.fit(GOOD, [], seed=0)


def make_members() -> dict[str, Detector]:
    return {"fine": make_level(), "coarse": make_level(gain=50.0, cells=2, channel=1)}


def fit(name: str, members: dict[str, Detector] | None = None, **overrides: Any) -> OutputFusion:
    ensemble = create_ensemble(members or make_members(), name, overrides=FEW | overrides)
    assert isinstance(ensemble, OutputFusion)
    return ensemble.fit(GOOD, GOOD, seed=0)


def score(detector: Detector, *images: Image) -> list[float]:
    return [p.score for p in detector.predict(list(images))]


def test_the_mean_is_that_of_z_scores_whatever_the_members_scales() -> None:
    # Levels 90 to 120 have mean 105 and deviation 11.18 for both members, the gain of one aside.
    got = score(fit("ensemble-mean"), flat(105), flat(120), flat(105, bright=(0, 0)))
    deviation = np.std([90, 100, 110, 120])
    assert got == pytest.approx([0, 15 / deviation, (250 - 105) / deviation / 2], abs=1e-3)


def test_the_maximum_is_that_of_the_member_with_the_highest_score() -> None:
    fusion = fit("ensemble-max", calibrator="z_score")
    red, green = flat(105, bright=(0, 0)), flat(105, bright=(0, 0), channel=1)
    assert score(fusion, red)[0] == pytest.approx(145 / np.std([90, 100, 110, 120]), rel=1e-3)
    assert score(fusion, green)[0] < score(fusion, red)[0]  # a quarter of its coarse cell


@pytest.mark.parametrize("name", OUTPUTS)
def test_maps_keep_locations_on_the_largest_grid(name: str) -> None:
    fusion = fit(name, **({"bags": 2} if name == "ensemble-bag" else {}))
    bad = flat(105, bright=(1, 3))
    with torch.inference_mode():
        assert fusion.score_batch(Batch([bad])).patches.shape == (1, 4, 4)
    (prediction,) = fusion.predict([bad])
    y, x = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
    assert 8 <= y < 16
    assert 24 <= x < 32


@pytest.mark.parametrize("name", OUTPUTS)
def test_image_scores_are_probabilities_where_the_ensemble_says_so(name: str) -> None:
    fusion = fit(name, **({"bags": 2} if name == "ensemble-bag" else {}))
    got = score(fusion, *GOOD, flat(105, bright=(0, 0)), flat(255), flat(0))
    named = name in {f"ensemble-{n}" for n in ("stack", "forest", "boost", "cawpe")}
    assert fusion.probabilities == named
    if named:
        assert 0 <= min(got) <= max(got) <= 1


@pytest.mark.parametrize("calibrator", CALIBRATORS)
@pytest.mark.parametrize("combiner", ["mean", "stack", "rank"])
def test_every_calibrator_works_with_a_combiner(calibrator: str, combiner: str) -> None:
    fusion = fit("ensemble-output", calibrator=calibrator, combiner=combiner)
    good, bad = score(fusion, flat(105), flat(105, bright=(2, 1)))
    assert bad >= good
    assert np.isfinite([good, bad]).all()


def test_synthetic_anomalies_are_scored_only_where_they_are_needed() -> None:
    tasks: list[str] = []

    class Watching(Silent):
        def task(self, description: str, total: int | None = None) -> Any:
            tasks.append(description)
            return super().task(description, total)

    for name in ("ensemble-mean", "ensemble-stack"):
        ensemble = create_ensemble(make_members(), name, overrides=FEW)
        ensemble.fit(GOOD, GOOD, seed=0, progress=Watching())
    assert tasks == [
        "ensemble-output: good images",
        "ensemble-output: good images",
        "ensemble-output: synthetic anomalies",
    ]


def test_without_validation_images_a_note_says_what_it_calibrates_on() -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    create_ensemble(make_members(), "ensemble-mean").fit(GOOD, [], seed=0, progress=Notes())
    assert any("no good validation images" in line for line in notes)


def test_patches_are_sampled_and_never_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    real = OutputFusion._score_good_images

    def watched(self: OutputFusion, *args: Any) -> Any:
        scores = real(self, *args)
        kept.append(len(scores.patches))
        return scores

    monkeypatch.setattr(OutputFusion, "_score_good_images", watched)
    big = {"only": make_level(cells=32)}
    fit("ensemble-mean", big, patches=100)
    assert kept == [100]


def test_members_that_share_a_backbone_share_its_forward_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = random_backbone("squeezenet1_1")
    ensemble = create_ensemble(make_real_members(backbone), "ensemble-mean")
    ensemble.fit(pictures(4), pictures(2), seed=0)
    calls: list[int] = []
    maps = backbone.maps

    def counted(pixels: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        calls.append(len(pixels))
        return maps(pixels, strides)

    monkeypatch.setattr(backbone, "maps", counted)
    list(ensemble.predict(pictures(3)))
    assert calls == [3]


def pictures(count: int) -> list[Image]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 255, (40, 70, 3), dtype=np.uint8) for _ in range(count)]


def make_real_members(backbone: Backbone) -> dict[str, Detector]:
    settings = {"pretrain_dim": 16, "target_dim": 16}
    return {
        name: create(
            "patchcore",
            backbone=backbone,
            overrides={**settings, "coreset_ratio": ratio},
            input_size_px=64,
        ).fit(pictures(4), [], seed=0)
        for name, ratio in (("dense", 1.0), ("sparse", 0.1))
    }


@pytest.fixture(scope="module")
def real_members() -> dict[str, Detector]:
    return make_real_members(random_backbone("squeezenet1_1"))


@pytest.mark.parametrize("name", ["rank", "max", "vote", "forest", "boost", "bag", "cawpe"])
def test_a_saved_ensemble_predicts_the_same(
    name: str, tmp_path: Path, real_members: dict[str, Detector]
) -> None:
    name = f"ensemble-{name}"
    overrides = FEW | ({"bags": 2} if name == "ensemble-bag" else {})
    ensemble = create_ensemble(real_members, name, overrides=overrides)
    ensemble.fit(pictures(4), pictures(3), seed=0)
    ensemble.save(tmp_path / "kept")
    suffixes = {path.suffix for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors"}
    loaded = load_ensemble(tmp_path / "kept", random_backbone("squeezenet1_1"), device="cpu")
    assert list(loaded.members) == ["dense", "sparse"]
    assert loaded.parameter_count() == ensemble.parameter_count()
    for one, other in zip(ensemble.predict(pictures(3)), loaded.predict(pictures(3)), strict=True):
        assert one.score == pytest.approx(other.score)
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)


def test_bags_replace_their_members() -> None:
    ensemble = fit("ensemble-bag", bags=3)
    bags = [bag for bags in ensemble._bags.values() for bag in bags]
    assert [type(bag) for bag in bags] == [Level] * 6
    seen = [bag.seen for bag in bags if isinstance(bag, Level)]
    assert all(set(levels) <= {90, 100, 110, 120} for levels in seen)
    assert len({tuple(levels) for levels in seen}) > 1
    assert [bag.config for bag in bags[3:]] == [ensemble.members["coarse"].config] * 3


def test_a_resample_draws_as_many_images_with_replacement() -> None:
    drawn = Resampled(list(range(100)), seed=0)  # type: ignore[arg-type]
    assert len(drawn) == 100
    assert [drawn[k] for k in range(100)] == list(drawn)
    assert 55 < len(set(map(int, drawn.drawn))) < 72  # 1 - 1 / e of them


def test_an_ensemble_cannot_be_bagged_as_a_member() -> None:
    with pytest.raises(MethodError, match=r"got inner, an ensemble \(ensemble-output\); next step"):
        create_ensemble({"inner": fit("ensemble-mean")}, "ensemble-bag")


def test_every_name_in_the_tables_is_a_setting() -> None:
    for calibrator in CALIBRATORS:
        for combiner in COMBINERS:
            if combiner == "cawpe" and not CALIBRATORS[calibrator].needs_anomalies:
                continue
            settings = OutputFusion.configure(
                "fast", {"calibrator": calibrator, "combiner": combiner}
            )
            assert isinstance(settings, OutputConfig)
            assert (settings.calibrator, settings.combiner) == (calibrator, combiner)
    assert len(FAMILIES) > 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"combine": "mean"}, 'unknown key combine; did you mean "combiner"'),
        ({"combiner": "medain"}, 'combiner: .*unknown combiner "medain"; did you mean "median"'),
        (
            {"calibrator": "platte"},
            'calibrator: .*unknown calibrator "platte"; did you mean "platt"',
        ),
        ({"combiner": "cawpe"}, 'calibrator "z_score" does not give; expected platt'),
        ({"families": []}, "expected at least one family, got none"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        create_ensemble(make_members(), "ensemble-output", overrides=overrides)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match='"ensemble-meen"; did you mean "ensemble-mean"'):
        create_ensemble(make_members(), "ensemble-meen")


def test_unfitted_members_are_an_error() -> None:
    ensemble = create_ensemble({"a": Level(LevelConfig(), None, device="cpu")}, "ensemble-mean")
    with pytest.raises(MethodError, match="level has not been fitted; next step"):
        ensemble.fit(GOOD, [], seed=0, progress=SILENT)


def test_a_single_detector_is_not_loaded_as_an_ensemble(tmp_path: Path) -> None:
    make_level().save(tmp_path / "kept")
    with pytest.raises(MethodError, match="expected a fitted ensemble, got a fitted level"):
        load_ensemble(tmp_path / "kept")


def test_a_damaged_file_is_an_error(tmp_path: Path, real_members: dict[str, Detector]) -> None:
    from loco_tools.methods import checkpoint

    ensemble = create_ensemble(real_members, "ensemble-mean").fit(pictures(4), pictures(2), seed=0)
    ensemble.save(tmp_path / "kept")
    record, tensors = checkpoint.read(tmp_path / "kept")
    del tensors["maps.1.scale"], tensors["maps.1.offset"]
    checkpoint.write_into(tmp_path / "kept", record, tensors)
    with pytest.raises(MethodError, match="does not hold a complete ensemble-output"):
        load_ensemble(tmp_path / "kept", random_backbone("squeezenet1_1"))
