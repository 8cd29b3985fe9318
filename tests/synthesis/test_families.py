import cv2
import numpy as np
import pytest

from loco_tools.datasets.images import resize_image
from loco_tools.errors import MethodError
from loco_tools.synthesis.families import FAMILIES, LOGICAL, synthetic_anomalies
from loco_tools.synthesis.scene import foreground

SIZE = (96, 144)


def make_part(seed: int = 0) -> np.ndarray:
    """A light plate with two dark holes and two light studs on dark cloth, with grain."""
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), 30.0)
    image[20:76, 24:120] = 150
    for x, level in ((45, 20), (100, 20), (65, 230), (82, 230)):
        cv2.circle(image, (x, 48), 5, (level,) * 3, -1)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def make(count: int, seed: int = 0, families: tuple[str, ...] | None = None) -> list:
    images = [make_part(k) for k in range(3)]
    return list(synthetic_anomalies(images, count, seed=seed, families=families))


@pytest.mark.parametrize("family", FAMILIES)
def test_all_changed_pixels_lie_in_the_mask(family: str) -> None:
    for made in make(6, families=(family,)):
        source = make_part(made.source)
        changed = np.abs(made.image.astype(int) - source).max(axis=2) >= 6
        assert made.mask.shape == SIZE
        assert made.mask.sum() >= 6
        assert not (changed & ~made.mask).any()
        assert made.mask.mean() < 0.4
        assert made.families == (family,)


def test_families_and_sources_take_turns() -> None:
    found = make(2 * len(FAMILIES))
    assert {made.families[0] for made in found} == set(FAMILIES)
    counts = np.bincount([made.source for made in found], minlength=3)
    assert counts.max() - counts.min() <= 1


def test_several_anomalies_in_an_image_have_a_mask_each() -> None:
    images = [make_part(k) for k in range(3)]
    for made in synthetic_anomalies(images, 3, seed=0, each=4):
        apart = np.abs(made.image.astype(int) - make_part(made.source)).max(axis=2)
        changed = apart >= 4 * 6  # of each, differences below 6 do not count
        assert len(made.masks) == len(made.families) == len(set(made.families)) == 4
        assert all(mask.any() for mask in made.masks)
        assert not (changed & ~made.mask).any()


def test_anomalies_are_made_at_the_input_size_of_detectors_if_that_is_smaller() -> None:
    images = [make_part(k) for k in range(3)]
    whole = list(synthetic_anomalies(images, 4, seed=0, size=(192, 288)))
    assert {made.image.shape for made in whole} == {(*SIZE, 3)}
    for made in synthetic_anomalies(images, 4, seed=0, size=(48, 64)):
        small = resize_image(make_part(made.source), (48, 64))
        changed = np.abs(made.image.astype(int) - small).max(axis=2) >= 6
        assert made.mask.shape == (48, 64)
        assert made.mask.any()
        assert not (changed & ~made.mask).any()


def test_the_same_seed_gives_the_same_anomalies_and_another_one_others() -> None:
    first, again, other = make(5), make(5), make(5, seed=1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
    assert any((a.image != b.image).any() for a, b in zip(first, other, strict=True))


def test_logical_anomalies_copy_or_remove_a_component() -> None:
    studs_and_holes = 4
    counts = {name: set() for name in LOGICAL}
    for made in make(24, families=LOGICAL):
        part = made.image[..., 0].astype(int)
        apart = ((part < 90) | (part > 190))[22:74, 26:118]
        _, _, stats, _ = cv2.connectedComponentsWithStats(apart.astype(np.uint8))
        counts[made.families[0]].add(int((stats[1:, cv2.CC_STAT_AREA] > 30).sum()))
    assert min(counts["removal"]) < studs_and_holes
    assert max(counts["copy_move"]) > studs_and_holes


def test_the_foreground_is_the_part_and_not_the_cloth() -> None:
    part = foreground(make_part())
    assert part[40:56, 30:38].all()
    assert not part[:10].any()
    everywhere = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    assert foreground(everywhere).all()


def test_a_picture_without_contrast_still_gives_an_anomaly() -> None:
    flat = np.full((32, 40, 3), 128, np.uint8)
    for made in synthetic_anomalies([flat], len(FAMILIES), seed=3):
        assert made.mask.any()
        assert (made.image != flat).any()


def test_an_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(MethodError, match='unknown family of anomalies "stains"; did you mean'):
        make(1, families=("stains",))


def test_no_images_is_an_error() -> None:
    with pytest.raises(MethodError, match="expected good images and families"):
        list(synthetic_anomalies([], 1, seed=0))
