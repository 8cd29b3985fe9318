from dataclasses import replace

import pytest
import torch

from loco_tools.ensembles.feature_level.score_maps import Spoken, Voices

GRID = (6, 8)
ANCHORS = torch.tensor([[float(k)] for k in (*range(8), *range(100, 108))])


def make_spoken(count: int = 20, seed: int = 0, *, fault: float = 0, members: int = 0) -> Spoken:
    """Two voices; the left half of the grid is calm, the right half rough: ten times as loud.

    The first voice shows a fault in the calm half, the second one never. The last `members` of
    them are members, whose image scores are means over the image.
    """
    generator = torch.Generator().manual_seed(seed)
    patches = 10 + torch.randn(count, 2, *GRID, generator=generator) * 0.1
    rough = torch.arange(GRID[1]) >= GRID[1] // 2
    patches[..., rough] = patches[..., rough] * 10
    patches[:, 0, 2, 1] += fault
    nearest = (8 * rough.long()).expand(count, *GRID)
    images = patches.mean((2, 3))[:, 2 - members :]
    return Spoken(patches, nearest, images)


def make_voices(good: Spoken, local: float = 1.0, beside: int = 0) -> Voices:
    return Voices.fit(
        good,
        ANCHORS,
        local_images=local,
        local_maps=local,
        smoothing=0,
        beside=beside,
        share=0.3,
    )


def in_the_fault(count: int = 20) -> list[torch.Tensor]:
    """Where `make_spoken` puts the fault, for `Voices.weigh`."""
    inside = torch.zeros(1, *GRID, dtype=torch.bool)
    inside[:, 2, 1] = True
    return [inside] * count


def largest_places(maps: torch.Tensor) -> list[tuple[int, int]]:
    return [divmod(int(one.argmax()), GRID[1]) for one in maps]


def test_good_images_have_scores_of_mean_zero_and_deviation_one() -> None:
    good = make_spoken()
    scores, _ = make_voices(good).judge(good)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_a_fault_on_a_calm_surface_is_seen_beside_a_rough_one() -> None:
    faulty = make_spoken(seed=1, fault=5)
    local, overall = make_voices(make_spoken()), make_voices(make_spoken(), local=0)
    assert largest_places(local.judge(faulty)[1]) == [(2, 1)] * 20
    assert (2, 1) not in largest_places(overall.judge(faulty)[1])


def test_a_voice_that_tells_nothing_loses_its_weight() -> None:
    good, faulty = make_spoken(), make_spoken(seed=1, fault=5)
    voices = make_voices(good)
    before = voices.tensors()["weights"].tolist()
    voices.weigh(good, faulty, in_the_fault())
    weights = voices.tensors()["weights"]
    assert before == [0.5, 0.5]
    assert weights[0] > 0.99
    assert float(weights.sum()) == pytest.approx(1)


def test_a_backbones_map_keeps_its_share_whatever_it_tells() -> None:
    good, faulty = make_spoken(), make_spoken(seed=1, fault=5)
    voices = make_voices(good, beside=1)  # the second one, which tells nothing
    voices.weigh(good, faulty, in_the_fault())
    assert voices.tensors()["weights"].tolist() == pytest.approx([0.7, 0.3])


def test_voices_that_all_find_nothing_weigh_the_same() -> None:
    good = make_spoken()
    voices = make_voices(good)
    quiet = replace(good, patches=good.patches - 1000)
    voices.weigh(good, quiet, in_the_fault())
    assert voices.tensors()["weights"].tolist() == [0.5, 0.5]


def test_a_voice_that_many_good_patches_alarm_as_much_as_anomalies_loses_its_weight() -> None:
    good, faulty = make_spoken(), make_spoken(seed=1, fault=500)
    alarmed = torch.rand(good.patches[:, 1].shape, generator=torch.Generator().manual_seed(4)) < 0.1
    good.patches[:, 1][alarmed] = 400.0
    faulty.patches[:, 1, 2, 1] = 400.0  # no good patch is above: its AUROC is .95
    voices = make_voices(good, local=0)
    voices.weigh(good, faulty, in_the_fault())
    assert voices.tensors()["weights"][1] < 0.01


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_members_own_image_scores_count_as_much_as_they_are_told_to(share: float) -> None:
    voices = Voices.fit(
        make_spoken(members=2),
        ANCHORS,
        local_images=1,
        local_maps=1,
        smoothing=0,
        member_images=share,
    )
    odd = make_spoken(seed=3, members=2)
    louder = replace(odd, images=odd.images + voices.tensors()["image_std"][:2])
    torch.testing.assert_close(voices.judge(louder)[0], voices.judge(odd)[0] + share)


def test_an_image_blotched_all_over_alarms_less_than_one_with_a_fault() -> None:
    good = make_spoken(200)
    blotched, faulty = make_spoken(20, seed=1), make_spoken(20, seed=1)
    blotched.patches[..., : GRID[1] // 2] += 1.5
    faulty.patches[:, :, 2, 1] += 1.5

    def alarms(surroundings: float) -> tuple[float, float]:
        voices = Voices.fit(
            good,
            ANCHORS,
            local_images=1,
            local_maps=1,
            smoothing=0,
            surroundings=surroundings,
        )
        return float(voices.judge(blotched)[0].mean()), float(voices.judge(faulty)[0].mean())

    blotches, fault = alarms(0)
    assert blotches > fault
    blotches, fault = alarms(0.75)
    assert fault > blotches + 5


def test_surroundings_are_taken_off_images_scores_but_not_off_maps() -> None:
    good, faulty = make_spoken(), make_spoken(seed=1, fault=5)
    plain = make_voices(good)
    relative = Voices.fit(
        good, ANCHORS, local_images=1, local_maps=1, smoothing=0, surroundings=0.75
    )
    torch.testing.assert_close(relative.judge(faulty)[1], plain.judge(faulty)[1])
    assert not torch.allclose(relative.judge(faulty)[0], plain.judge(faulty)[0])


def test_images_and_maps_mix_the_deviations_each_in_their_own_way() -> None:
    faulty = make_spoken(seed=1, fault=5)
    voices = Voices.fit(make_spoken(), ANCHORS, local_images=1, local_maps=0, smoothing=0)
    both, neither = make_voices(make_spoken()), make_voices(make_spoken(), local=0)
    torch.testing.assert_close(voices.judge(faulty)[0], both.judge(faulty)[0])
    torch.testing.assert_close(voices.judge(faulty)[1], neither.judge(faulty)[1])
    assert not torch.allclose(voices.judge(faulty)[1], both.judge(faulty)[1])


def test_a_members_image_score_weighs_what_its_voice_does() -> None:
    good, faulty = make_spoken(members=2), make_spoken(seed=1, fault=5, members=2)
    voices = make_voices(good)
    assert voices.tensors()["member_weights"].tolist() == [0.5, 0.5]
    voices.weigh(good, faulty, in_the_fault())
    assert voices.tensors()["member_weights"][0] > 0.99


def test_what_is_kept_makes_the_same_voices() -> None:
    voices = make_voices(make_spoken(members=1), beside=1)
    again, other = Voices(voices.tensors()), make_spoken(seed=5, fault=3, members=1)
    torch.testing.assert_close(again.judge(other), voices.judge(other))


def test_batches_are_joined_in_order() -> None:
    one, other = make_spoken(2), make_spoken(3, seed=1)
    joined = Spoken.joined([one, other])
    torch.testing.assert_close(joined.patches[2:], other.patches)
    assert len(joined.nearest) == len(joined.images) == 5
