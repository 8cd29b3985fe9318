from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loco_tools.ensembles import create_ensemble
from loco_tools.ensembles.feature_level.backbone_banks import BackboneBanks
from loco_tools.ensembles.feature_level.ensemble import FeatureFusion
from loco_tools.errors import DefinitionError, MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import Backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector
from loco_tools.progress import Silent

SETTINGS = {
    "patchcore": {"pretrain_dim": 32, "target_dim": 32},
    "simplenet": {"pretrain_dim": 32, "target_dim": 32, "hidden_dim": 16, "steps": 3},
}
FAST = {
    "hidden_dim": 16,
    "steps": 3,
    "anomalies": 3,
    "varied": 2,
    "weighing": 4,
    "bank_size": 30,
}


def make_images(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 255, (40, 70, 3), dtype=np.uint8) for _ in range(count)]


def make_members(backbone: Backbone | None = None, *, fitted: bool = True) -> dict[str, Detector]:
    shared = backbone or random_backbone("squeezenet1_1")
    members: dict[str, Detector] = {
        name: create(name, backbone=shared, overrides=settings, input_size_px=64)
        for name, settings in SETTINGS.items()
    }
    if fitted:
        for member in members.values():
            member.fit(make_images(4), [], seed=0)
    return members


def fit(members: dict[str, Detector], **overrides: object) -> FeatureFusion:
    ensemble = create_ensemble(members, overrides={**FAST, **overrides})
    return ensemble.fit(make_images(4), make_images(2), seed=0)


def test_the_number_of_training_images_that_are_used_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, collected, fused = make_images(8), [], []
    collect, part = BackboneBanks.collect, Batch.part

    def watched_collect(banks: BackboneBanks, batch: Batch, *more: Any) -> None:
        collected.extend(batch.images)
        collect(banks, batch, *more)

    def watched_part(batch: Batch, chosen: list[int]) -> Batch:
        smaller = part(batch, chosen)
        fused.extend(smaller.images)
        return smaller

    monkeypatch.setattr(BackboneBanks, "collect", watched_collect)
    monkeypatch.setattr(Batch, "part", watched_part)
    settings = {**FAST, "batch_size": 3, "backbone_images": 4, "pool_images": 2}
    ensemble = create_ensemble(make_members(), overrides=settings)
    ensemble.fit(images, make_images(2), seed=0)
    assert all(image is images[n] for image, n in zip(collected, (0, 2, 4, 6), strict=True))
    assert all(image is images[n] for image, n in zip(fused, (0, 4), strict=True))


@pytest.mark.parametrize("strides", [(), (4, 8, 16)])
def test_members_that_share_a_backbone_share_its_forward_pass(
    strides: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = random_backbone("squeezenet1_1")
    ensemble = fit(make_members(backbone), batch_size=3, backbone_strides=strides)
    calls: list[int] = []
    real = backbone.maps
    monkeypatch.setattr(backbone, "maps", lambda x, s: calls.append(len(x)) or real(x, s))
    assert len(list(ensemble.predict(make_images(6)))) == 6
    assert calls == [3, 3]


def test_scores_are_standardised_on_good_validation_images() -> None:
    members, validation = make_members(), make_images(5)
    ensemble = create_ensemble(members, overrides=FAST)
    ensemble.fit(make_images(4), validation, seed=0)
    scores = [p.score for p in ensemble.predict(validation)]
    assert np.mean(scores) == pytest.approx(0, abs=1e-2)
    assert 0.3 < np.std(scores) < 1.01  # a mean of partly correlated deviations


@pytest.mark.parametrize(
    "settings",
    [
        {"member_scores": False},
        {"heads": ("gaussian",)},
        {"heads": ("memory_bank", "gaussian")},
        {"block": "independent", "components": 0.9},
        {"block": "independent", "components": {"patchcore": 3, "simplenet": 5}},
        {"noise": "simplex"},
        {"learn_from": "held_out"},
        {"learn_from": "train", "anomalies": 0},
        {"whiten": True, "scale": "per_channel"},
        {"source_weights": "equal", "weights": "worth"},
        {"varied": 0, "local_maps": 0, "local_images": 0, "smoothing": 0},
        {"backbone_strides": ()},
        {"backbone_strides": (4,), "backbone_bank": 5},
        {"backbone_share": 0.5},
    ],
    ids=str,
)
def test_every_setting_changes_the_scores_and_is_saved(
    settings: dict[str, object], tmp_path: Path
) -> None:
    members, images = make_members(), make_images(6)
    usual, changed = (fit(members, **{"weights": "equal", **more}) for more in ({}, settings))
    scores = [p.score for p in changed.predict(images)]
    assert scores != pytest.approx([p.score for p in usual.predict(images)])
    changed.save(tmp_path / "kept")
    loaded = FeatureFusion.load(tmp_path / "kept", random_backbone("squeezenet1_1"), device="cpu")
    assert [p.score for p in loaded.predict(images)] == pytest.approx(scores, rel=1e-4)


def test_the_independent_block_keeps_the_number_of_components_of_each_member() -> None:
    fused = fit(make_members(), block="independent", components={"patchcore": 3, "simplenet": 5})
    assert fused.cut_shape("fused features").channels == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": {"patchcore": 3, "simplenet": 5}}, "need the independent block"),
        ({"block": "independent", "components": {"patchcore": 3}}, "without a number: simplenet"),
        ({"block": "independent", "components": {"ast": 3}}, r'"ast", which is no member'),
    ],
)
def test_components_that_do_not_fit_the_members_are_an_error(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(MethodError, match=message):
        create_ensemble(make_members(fitted=False), overrides=settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": 0}, "counts or shares above 0"),
        ({"heads": []}, "one or more different heads"),
        ({"backbone_strides": [8, 8]}, r"different strides out of \[4, 8, 16, 32\], got \[8, 8\]"),
        ({"backbone_strides": [12]}, r"different strides out of \[4, 8, 16, 32\], got \[12\]"),
        ({"heads": ["gaussian", "gaussian"]}, "one or more different heads"),
    ],
)
def test_settings_out_of_range_are_an_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        create_ensemble(make_members(fitted=False), overrides=settings)


def test_a_member_without_cuts_is_an_error_with_a_next_step() -> None:
    members = make_members(fitted=False)
    members["fused"] = create_ensemble(make_members(fitted=False), "ensemble-mean")
    with pytest.raises(
        MethodError, match=r"fused exposes no intermediate features, which.*ensemble-mean"
    ):
        create_ensemble(members)


def test_without_validation_images_a_note_says_what_it_calibrates_on() -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    ensemble = create_ensemble(make_members(), overrides=FAST)
    ensemble.fit(make_images(4), [], seed=0, progress=Notes())
    assert any("no good validation images" in line for line in notes)


def test_unfitted_members_are_an_error() -> None:
    ensemble = create_ensemble(make_members(fitted=False), overrides=FAST)
    with pytest.raises(MethodError, match="patchcore has not been fitted; next step"):
        ensemble.fit(make_images(2), [], seed=0)


def test_a_cut_that_a_member_does_not_have_is_an_error_before_training() -> None:
    with pytest.raises(MethodError, match='patchcore has no cut "adapted features"; did you mean'):
        create_ensemble(
            make_members(fitted=False), overrides={"cuts": {"patchcore": "adapted features"}}
        )


def test_a_cut_of_a_detector_that_is_no_member_is_an_error() -> None:
    with pytest.raises(MethodError, match=r'"ast", which is no member; members: patchcore, simple'):
        create_ensemble(make_members(fitted=False), overrides={"cuts": {"ast": "latents"}})


def test_no_members_is_an_error() -> None:
    with pytest.raises(MethodError, match="needs at least one member"):
        create_ensemble({})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(DefinitionError, match=r'component; did you mean "components"'):
        create_ensemble(make_members(fitted=False), overrides={"component": 3})


def test_a_backbone_that_members_share_counts_once_among_the_parameters() -> None:
    ensemble = fit(make_members())
    patchcore, simplenet = ensemble.members.values()
    shared = patchcore.backbone.parameter_count(patchcore.strides)
    own = sum(value.numel() for value in ensemble._tensors().values())
    apart = patchcore.parameter_count() + simplenet.parameter_count()
    assert ensemble.parameter_count() == own + apart - shared


def test_an_ensemble_saved_by_a_version_with_fewer_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = fit(make_members())
    tensors = ensemble._tensors()
    older = {**tensors, "voices.settings": tensors["voices.settings"][:3].clone()}
    monkeypatch.setattr(ensemble, "_tensors", lambda: older)
    ensemble.save(tmp_path / "kept")
    with pytest.raises(MethodError, match="settings"):
        FeatureFusion.load(tmp_path / "kept", random_backbone("squeezenet1_1"), device="cpu")


def test_a_deeper_part_of_the_backbone_that_only_the_ensemble_uses_is_counted() -> None:
    members = make_members(random_backbone("resnet18"))
    backbone = members["patchcore"].backbone
    more = backbone.parameter_count((8, 16, 32)) - backbone.parameter_count((8, 16))
    assert more > 1e6
    shallow, deep = (fit(members, backbone_strides=[stride]) for stride in (8, 32))
    own = [sum(value.numel() for value in one._tensors().values()) for one in (shallow, deep)]
    assert deep.parameter_count() - shallow.parameter_count() == own[1] - own[0] + more


def test_a_saved_ensemble_holds_its_members_and_checks_their_backbone(tmp_path: Path) -> None:
    ensemble = fit(make_members())
    ensemble.save(tmp_path / "kept")
    loaded = FeatureFusion.load(tmp_path / "kept", random_backbone("squeezenet1_1"), device="cpu")
    assert list(loaded.members) == ["patchcore", "simplenet"]
    with pytest.raises(MethodError, match=r"was fitted with backbone squeezenet1_1:none, got res"):
        FeatureFusion.load(tmp_path / "kept", random_backbone("resnet18"))
