import pytest
import torch

from loco_tools.ensembles.voices import Spoken, Voices

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
    images = patches.flatten(2).mean(dim=2)[:, 2 - members :]
    return Spoken(patches, nearest, images)


def make_voices(good: Spoken, local: float = 1.0, smoothing: float = 0.0) -> Voices:
    return Voices.fit(good, ANCHORS, local_images=local, local_maps=local, smoothing=smoothing)


def largest_places(maps: torch.Tensor) -> list[tuple[int, int]]:
    return [divmod(int(one.argmax()), GRID[1]) for one in maps]


def test_good_images_have_scores_of_mean_zero_and_deviation_one() -> None:
    good = make_spoken()
    scores = make_voices(good).image_scores(good)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_a_fault_on_a_calm_surface_is_seen_beside_a_rough_one() -> None:
    faulty = make_spoken(seed=1, fault=5)
    local, overall = make_voices(make_spoken()), make_voices(make_spoken(), local=0)
    assert largest_places(local.maps(faulty)) == [(2, 1)] * 20
    assert (2, 1) not in largest_places(overall.maps(faulty))


def test_a_voice_that_tells_nothing_loses_its_weight() -> None:
    good, faulty = make_spoken(), make_spoken(seed=1, fault=5)
    inside = [torch.zeros(1, *GRID, dtype=torch.bool) for _ in range(20)]
    for one in inside:
        one[:, 2, 1] = True
    voices = make_voices(good)
    before = voices.tensors()["weights"].tolist()
    voices.weigh(good, faulty, inside)
    weights = voices.tensors()["weights"]
    assert before == [0.5, 0.5]
    assert weights[0] > 0.99
    assert float(weights.sum()) == pytest.approx(1)


def test_members_own_image_scores_count_as_much_as_all_voices_together() -> None:
    voices = make_voices(make_spoken(members=2))
    odd = make_spoken(seed=3, members=2)
    louder = Spoken(odd.patches, odd.nearest, odd.images + voices.tensors()["image_std"][:2])
    torch.testing.assert_close(voices.image_scores(louder), voices.image_scores(odd) + 0.5)


def test_a_members_image_score_weighs_what_its_voice_does() -> None:
    good, faulty = make_spoken(members=2), make_spoken(seed=1, fault=5, members=2)
    inside = [torch.zeros(1, *GRID, dtype=torch.bool) for _ in range(20)]
    for one in inside:
        one[:, 2, 1] = True
    voices = make_voices(good)
    assert voices.tensors()["member_weights"].tolist() == [0.5, 0.5]
    voices.weigh(good, faulty, inside)
    assert voices.tensors()["member_weights"][0] > 0.99


def test_what_is_kept_makes_the_same_voices() -> None:
    voices = make_voices(make_spoken(), smoothing=0.7)
    again, other = Voices(voices.tensors()), make_spoken(seed=5, fault=3)
    torch.testing.assert_close(again.maps(other), voices.maps(other))
    torch.testing.assert_close(again.image_scores(other), voices.image_scores(other))


def test_batches_are_joined_in_order() -> None:
    one, other = make_spoken(2), make_spoken(3, seed=1)
    joined = Spoken.joined([one, other])
    torch.testing.assert_close(joined.patches[2:], other.patches)
    assert len(joined.nearest) == len(joined.images) == 5
