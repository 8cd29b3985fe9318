from dataclasses import replace

import pytest
import torch

from loco_tools.ensembles.feature_level.score_maps import (
    CombinationSettings,
    ScoreMapCombiner,
    ScoreMaps,
)

GRID = (6, 8)
BANK = torch.tensor([[float(k)] for k in (*range(8), *range(100, 108))])


def make_maps(count: int = 20, seed: int = 0, *, fault: float = 0, members: int = 0) -> ScoreMaps:
    """Two score maps; the left half of the grid is smooth, the right half rough: ten times as high.

    The first map shows a fault in the smooth half, the second one never. The last `members` of them
    are members' maps; the members' image scores are means over the image.
    """
    generator = torch.Generator().manual_seed(seed)
    patches = 10 + torch.randn(count, 2, *GRID, generator=generator) * 0.1
    rough = torch.arange(GRID[1]) >= GRID[1] // 2
    patches[..., rough] = patches[..., rough] * 10
    patches[:, 0, 2, 1] += fault
    nearest = (8 * rough.long()).expand(count, *GRID)
    images = patches.mean((2, 3))[:, 2 - members :]
    return ScoreMaps(patches, nearest, images)


def fit_combiner(good: ScoreMaps, local: float = 1.0, backbone_maps: int = 0) -> ScoreMapCombiner:
    settings = CombinationSettings(local_images=local, local_maps=local)
    return ScoreMapCombiner.fit(
        good, BANK, settings, backbone_maps=backbone_maps, backbone_share=0.3
    )


def fault_patches(count: int = 20) -> list[torch.Tensor]:
    """Where `make_maps` puts the fault, for `ScoreMapCombiner.fit_weights`."""
    inside = torch.zeros(1, *GRID, dtype=torch.bool)
    inside[:, 2, 1] = True
    return [inside] * count


def locate_maxima(maps: torch.Tensor) -> list[tuple[int, int]]:
    return [divmod(int(values.argmax()), GRID[1]) for values in maps]


def test_good_images_have_scores_of_mean_zero_and_deviation_one() -> None:
    good = make_maps()
    scores, _ = fit_combiner(good).combine(good)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_a_fault_on_a_smooth_surface_is_found_next_to_a_rough_one() -> None:
    faulty = make_maps(seed=1, fault=5)
    local, overall = fit_combiner(make_maps()), fit_combiner(make_maps(), local=0)
    assert locate_maxima(local.combine(faulty)[1]) == [(2, 1)] * 20
    assert (2, 1) not in locate_maxima(overall.combine(faulty)[1])


def test_a_map_that_separates_nothing_loses_its_weight() -> None:
    good, faulty = make_maps(), make_maps(seed=1, fault=5)
    combiner = fit_combiner(good)
    before = combiner.tensors()["weights"].tolist()
    combiner.fit_weights(good, faulty, fault_patches())
    weights = combiner.tensors()["weights"]
    assert before == [0.5, 0.5]
    assert weights[0] > 0.99
    assert float(weights.sum()) == pytest.approx(1)


def test_a_backbone_map_keeps_its_given_weight() -> None:
    good, faulty = make_maps(), make_maps(seed=1, fault=5)
    combiner = fit_combiner(good, backbone_maps=1)  # the second one, which separates nothing
    combiner.fit_weights(good, faulty, fault_patches())
    assert combiner.tensors()["weights"].tolist() == pytest.approx([0.7, 0.3])


def test_maps_that_all_find_nothing_weigh_the_same() -> None:
    good = make_maps()
    combiner = fit_combiner(good)
    quiet = replace(good, patches=good.patches - 1000)
    combiner.fit_weights(good, quiet, fault_patches())
    assert combiner.tensors()["weights"].tolist() == [0.5, 0.5]


def test_a_map_with_many_false_positives_as_high_as_anomalies_loses_its_weight() -> None:
    good, faulty = make_maps(), make_maps(seed=1, fault=500)
    is_high = torch.rand(good.patches[:, 1].shape, generator=torch.Generator().manual_seed(4)) < 0.1
    good.patches[:, 1][is_high] = 400.0
    faulty.patches[:, 1, 2, 1] = 400.0  # no good patch is above: its AUROC is .95
    combiner = fit_combiner(good, local=0)
    combiner.fit_weights(good, faulty, fault_patches())
    assert combiner.tensors()["weights"][1] < 0.01


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_members_own_image_scores_have_the_configured_weight(share: float) -> None:
    settings = CombinationSettings(local_images=1, local_maps=1, member_images=share)
    combiner = ScoreMapCombiner.fit(make_maps(members=2), BANK, settings)
    odd = make_maps(seed=3, members=2)
    higher = replace(odd, images=odd.images + combiner.tensors()["image_std"][:2])
    torch.testing.assert_close(combiner.combine(higher)[0], combiner.combine(odd)[0] + share)


def test_an_image_blotched_all_over_scores_lower_than_one_with_a_fault() -> None:
    good = make_maps(200)
    blotched, faulty = make_maps(20, seed=1), make_maps(20, seed=1)
    blotched.patches[..., : GRID[1] // 2] += 1.5
    faulty.patches[:, :, 2, 1] += 1.5

    def mean_scores(surroundings: float) -> tuple[float, float]:
        settings = CombinationSettings(1, 1, surroundings=surroundings)
        combiner = ScoreMapCombiner.fit(good, BANK, settings)
        return float(combiner.combine(blotched)[0].mean()), float(
            combiner.combine(faulty)[0].mean()
        )

    blotches, fault = mean_scores(0)
    assert blotches > fault
    blotches, fault = mean_scores(0.75)
    assert fault > blotches + 5


def test_surroundings_are_subtracted_for_image_scores_but_not_in_maps() -> None:
    good, faulty = make_maps(), make_maps(seed=1, fault=5)
    plain = fit_combiner(good)
    relative = ScoreMapCombiner.fit(good, BANK, CombinationSettings(1, 1, surroundings=0.75))
    torch.testing.assert_close(relative.combine(faulty)[1], plain.combine(faulty)[1])
    assert not torch.allclose(relative.combine(faulty)[0], plain.combine(faulty)[0])


def test_image_scores_and_maps_mix_the_deviations_in_different_shares() -> None:
    faulty = make_maps(seed=1, fault=5)
    combiner = ScoreMapCombiner.fit(
        make_maps(), BANK, CombinationSettings(local_images=1, local_maps=0)
    )
    both, neither = fit_combiner(make_maps()), fit_combiner(make_maps(), local=0)
    torch.testing.assert_close(combiner.combine(faulty)[0], both.combine(faulty)[0])
    torch.testing.assert_close(combiner.combine(faulty)[1], neither.combine(faulty)[1])
    assert not torch.allclose(combiner.combine(faulty)[1], both.combine(faulty)[1])


def test_a_members_image_score_has_the_weight_of_its_map() -> None:
    good, faulty = make_maps(members=2), make_maps(seed=1, fault=5, members=2)
    combiner = fit_combiner(good)
    assert combiner.tensors()["member_weights"].tolist() == [0.5, 0.5]
    combiner.fit_weights(good, faulty, fault_patches())
    assert combiner.tensors()["member_weights"][0] > 0.99


def test_saved_arrays_restore_the_same_combiner() -> None:
    combiner = fit_combiner(make_maps(members=1), backbone_maps=1)
    again, other = ScoreMapCombiner(combiner.tensors()), make_maps(seed=5, fault=3, members=1)
    torch.testing.assert_close(again.combine(other), combiner.combine(other))


def test_batches_are_joined_in_order() -> None:
    one, other = make_maps(2), make_maps(3, seed=1)
    joined = ScoreMaps.joined([one, other])
    torch.testing.assert_close(joined.patches[2:], other.patches)
    assert len(joined.nearest) == len(joined.images) == 5
