import numpy as np
import pytest
import torch

from loco_tools.errors import DefinitionError, MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.patchcore import PatchCore
from loco_tools.progress import Silent


def make_images(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(count)]


def fit(**overrides: object) -> PatchCore:
    settings = {"pretrain_dim": 32, "target_dim": 32, "size_px": 64, **overrides}
    detector = create(
        "patchcore", backbone=random_backbone("squeezenet1_1"), overrides=settings, preset="paper"
    )
    assert isinstance(detector, PatchCore)
    return detector.fit(make_images(4), [], seed=0)


def test_the_paper_preset_has_the_published_numbers() -> None:
    config = PatchCore.configure("paper")
    assert (config.pretrain_dim, config.target_dim, config.patch_size) == (1024, 1024, 3)
    assert (config.coreset_ratio, config.projection_dim, config.neighbours) == (0.1, 128, 1)
    assert not config.reweight


def test_the_bank_is_the_ratio_of_the_patches_and_within_its_bound() -> None:
    patches = 4 * 7 * 11  # squeezenet pools 64 x 96 px to 7 x 11
    assert len(fit(coreset_ratio=0.25).bank) == patches // 4
    assert len(fit(coreset_ratio=0.25, max_bank=9).bank) == 9


def test_training_patches_score_zero_when_all_are_kept() -> None:
    detector = fit(coreset_ratio=1.0)
    assert all(p.score < 1e-3 for p in detector.predict(make_images(4)))


def test_patches_above_the_budget_are_thinned_and_it_is_said() -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    detector = fit(max_patches=100, coreset_ratio=1.0)
    detector.fit(make_images(4), [], seed=0, progress=Notes())
    assert len(detector.bank) == 100
    (line,) = notes
    assert "308 patches are above the budget of 100; going on with 25 random ones" in line


def test_the_paper_preset_thins_no_class() -> None:
    assert PatchCore.configure("paper").max_patches is None  # type: ignore[attr-defined]
    assert PatchCore.configure("fast").max_patches == 100_000  # type: ignore[attr-defined]


def test_the_image_score_is_the_largest_patch_score() -> None:
    detector = fit()
    scores = detector.score_batch(Batch(make_images(3)))
    torch.testing.assert_close(scores.image, scores.patches.flatten(1).amax(dim=1))


def test_reweighting_follows_equation_7() -> None:
    plain, weighted = fit(), fit(reweight=True, reweight_neighbours=3)
    image = np.full((64, 96, 3), 200, np.uint8)
    before = plain.score_batch(Batch([image]))
    after = weighted.score_batch(Batch([image]))
    where = int(before.patches.flatten().argmax())
    features = plain.cut_batch(Batch([image]), "patch features").flatten(2)[0, :, where].double()
    bank = plain.bank.double()
    star = bank[(bank - features).norm(dim=1).argmin()]
    around = bank[(bank - star).norm(dim=1).argsort()[:3]]
    shares = (around - features).norm(dim=1).exp()
    expected = (1 - shares[0] / shares.sum()) * (features - star).norm()
    assert float(after.image[0]) == pytest.approx(float(expected), rel=1e-3)
    torch.testing.assert_close(after.patches, before.patches)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(DefinitionError, match=r'coreset_ration; did you mean "coreset_ratio"'):
        PatchCore.configure("fast", {"coreset_ration": 0.2})


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(MethodError, match='unknown preset "papers"; did you mean "paper"'):
        PatchCore.configure("papers")
