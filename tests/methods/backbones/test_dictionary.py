from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from loco_tools.errors import MethodError
from loco_tools.methods import checkpoint, create, load_detector
from loco_tools.methods.backbones import backbone_for, named_backbone
from loco_tools.methods.backbones.dictionary import Dictionary
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import SingleDetector

SIZE = (64, 96)
SMALL = {"pretrain_dim": 64, "target_dim": 64}


def make_image(seed: int) -> npt.NDArray[np.uint8]:
    """Grey stripes with noise."""
    noise = np.random.default_rng(seed).normal(0, 6, (*SIZE, 3))
    stripes = 120 + 30 * np.sin(np.arange(SIZE[1]) / 3)[None, :, None]
    return np.clip(stripes + noise, 0, 255).astype(np.uint8)


IMAGES = [make_image(seed) for seed in range(4)]


def pixels() -> Iterator[Tensor]:
    yield Batch(IMAGES[:3]).pixels(SIZE)
    yield Batch(IMAGES[3:]).pixels(SIZE)


def fitted(seed: int = 0) -> Dictionary:
    backbone = Dictionary()
    backbone.fit(pixels(), count=len(IMAGES), seed=seed)
    return backbone


def make_detector(method: str = "patchcore", seed: int = 0) -> SingleDetector:
    settings = SMALL if method == "patchcore" else {**SMALL, "hidden_dim": 16, "steps": 2}
    detector = create(
        method, backbone=named_backbone("dictionary"), overrides=settings, input_size_px=64
    )
    return detector.fit(IMAGES, [], seed=seed)


def test_taps_have_strides_8_and_16_and_their_channels() -> None:
    backbone = fitted()
    for height, width in ((64, 112), (16, 16), (48, 32)):
        shallow, deep = backbone.taps(torch.randn(2, 3, height, width))
        assert shallow.shape == (2, backbone.channels[0], height // 8, width // 8)
        assert deep.shape == (2, backbone.channels[1], height // 16, width // 16)
        assert shallow.isfinite().all()
        assert deep.isfinite().all()


def test_the_same_seed_learns_the_same_and_another_seed_something_else() -> None:
    first, again, other = fitted(), fitted(), fitted(seed=1)
    assert first.tag == again.tag != other.tag
    one, two = (b.taps(Batch(IMAGES).pixels(SIZE)) for b in (first, again))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_features_of_an_image_do_not_depend_on_its_batch() -> None:
    backbone = fitted()
    together = backbone.taps(Batch(IMAGES).pixels(SIZE))
    alone = backbone.taps(Batch(IMAGES[2:3]).pixels(SIZE))
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[2:3], one, rtol=1e-4, atol=1e-4)


def test_a_coloured_dot_is_seen_where_it_is() -> None:
    backbone = fitted()
    flat = torch.zeros(1, 3, 64, 96)
    dotted = flat.clone()
    dotted[:, 0, 40:48, 72:80] += 1.5
    change = (backbone.taps(dotted)[0] - backbone.taps(flat)[0]).square().sum(dim=1)[0]
    assert divmod(int(change.argmax()), change.shape[1]) == (5, 9)


def test_images_without_any_texture_can_be_learned_from() -> None:
    backbone = Dictionary()
    backbone.fit(iter([torch.zeros(2, 3, 32, 32)]), count=2, seed=0)
    assert all(tap.isfinite().all() for tap in backbone.taps(torch.randn(1, 3, 32, 32)))


def test_using_it_before_it_is_fitted_is_an_error() -> None:
    with pytest.raises(MethodError, match="dictionary has not been fitted; next step: fit the de"):
        Dictionary().taps(torch.zeros(1, 3, 32, 32))


def test_it_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match='"dictionary" takes no weights'):
        named_backbone("dictionary", tmp_path / "x.pth")


def test_detectors_do_not_share_what_their_backbones_learn() -> None:
    given = named_backbone("dictionary")
    first, second = (create("patchcore", backbone=given, overrides=SMALL) for _ in range(2))
    first.fit(IMAGES, [], seed=0)
    assert given.tag == second.backbone.tag == "dictionary:none"
    assert first.backbone.tag != "dictionary:none"


def test_detectors_fitted_alike_share_the_pass_of_their_backbones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alike = [make_detector("patchcore"), make_detector("simplenet")]
    other = make_detector(seed=1)  # another dictionary
    calls: list[str] = []
    for detector in [*alike, other]:
        real = detector.backbone.taps
        monkeypatch.setattr(
            detector.backbone, "taps", lambda x, real=real: calls.append("pass") or real(x)
        )
    batch = Batch(IMAGES[:2])
    for detector in alike:
        detector.predict_batch(batch)
    assert calls == ["pass"]
    other.predict_batch(batch)
    assert calls == ["pass", "pass"]


def test_a_saved_detector_brings_its_dictionary(tmp_path: Path) -> None:
    detector = make_detector()
    detector.save(tmp_path / "kept")
    expected = [p.score for p in detector.predict(IMAGES)]
    for given in (None, named_backbone("dictionary"), fitted(seed=5)):
        loaded = load_detector(tmp_path / "kept", given, device="cpu")
        assert loaded.backbone.tag == detector.backbone.tag
        assert [p.score for p in loaded.predict(IMAGES)] == pytest.approx(expected, rel=1e-6)


def test_a_saved_detector_without_its_dictionary_is_an_error(tmp_path: Path) -> None:
    make_detector().save(tmp_path / "kept")
    record, arrays = checkpoint.read(tmp_path / "kept")
    kept = {k: v for k, v in arrays.items() if not k.startswith("backbone.kernel")}
    checkpoint.write(tmp_path / "kept", record, kept)
    with pytest.raises(MethodError, match=r"does not hold a complete patchcore .*kernel.*again"):
        load_detector(tmp_path / "kept", device="cpu")


def test_another_backbone_than_the_saved_detectors_is_an_error() -> None:
    with pytest.raises(MethodError, match=r"fitted with backbone dictionary:abc, got scattering"):
        backbone_for("dictionary:abc", named_backbone("scattering"), origin="here")
