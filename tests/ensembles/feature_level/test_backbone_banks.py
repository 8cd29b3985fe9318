import numpy as np
import pytest
import torch

from loco_tools.ensembles.feature_level.backbone_banks import BackboneBanks
from loco_tools.methods import create
from loco_tools.methods.backbones import WEIGHT_FREE, Backbone, named_backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector
from loco_tools.progress import SILENT

SIZE = (64, 96)
GRID = (8, 12)


def make_batch(count: int = 4, seed: int = 0, *, spot: bool = False) -> Batch:
    """Noise; with a bright spot of 8 px at (16, 40)."""
    images = np.random.default_rng(seed).integers(90, 110, (count, *SIZE, 3), dtype=np.uint8)
    if spot:
        images[:, 16:24, 40:48] = 255
    return Batch(list(images))


def make_member(backbone: Backbone) -> Detector:
    small = {"pretrain_dim": 32, "target_dim": 32}
    member = create("patchcore", backbone=backbone, overrides=small, input_size_px=SIZE[0])
    return member.fit(list(make_batch().images), [], seed=0)


def make_banks(
    backbone: Backbone | None = None, strides: tuple[int, ...] = (4, 8, 16)
) -> BackboneBanks:
    banks = BackboneBanks([make_member(backbone or random_backbone("resnet18"))], strides, SIZE)
    banks.collect(make_batch(), 100, torch.Generator().manual_seed(0))
    banks.fit(50, seed=0, progress=SILENT)
    return banks


def test_every_map_of_the_backbone_has_a_bank_on_the_requested_grid() -> None:
    scores = make_banks().scores(make_batch(2, seed=1), GRID)
    assert [tuple(one.shape) for one in scores] == [(2, *GRID)] * 3


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_a_spot_changes_the_distances_at_its_location(stride: int) -> None:
    banks = make_banks(random_backbone("mobilenet_v2"), strides=(stride,))
    (clean,), (spotted,) = (
        banks.scores(make_batch(3, seed=1, spot=spot), GRID) for spot in (False, True)
    )
    moved = (spotted - clean).abs().mean(dim=0)
    near = torch.zeros(GRID, dtype=torch.bool)
    near[1:4, 4:7] = True  # the spot is at location (2, 5)
    assert moved[near].mean() > 2 * moved[~near].mean()


def test_a_channel_that_hardly_varies_over_good_images_does_not_dominate_the_others() -> None:
    backbone = random_backbone("squeezenet1_1")  # on noise some channels are never above 0
    (scores,) = make_banks(backbone, strides=(4,)).scores(make_batch(3, spot=True), GRID)
    channels = backbone.channels_at(4)
    assert float(scores.max()) < 20 * 10 * channels**0.5  # 10 deviations in each at the floor


def test_members_with_one_backbone_have_one_set_of_banks() -> None:
    shared = random_backbone("resnet18")
    members = [make_member(shared), make_member(shared)]
    assert len(BackboneBanks(members, (4, 8), SIZE)) == 2


def test_members_with_different_backbones_have_banks_of_both() -> None:
    members = [make_member(random_backbone(name)) for name in ("resnet18", "squeezenet1_1")]
    assert len(BackboneBanks(members, (4, 8), SIZE)) == 4


@pytest.mark.parametrize("name", WEIGHT_FREE)
def test_strides_that_a_backbone_does_not_have_are_left_out(name: str) -> None:
    banks = make_banks(named_backbone(name))
    assert len(banks) == 2
    assert len(banks.scores(make_batch(1), GRID)) == 2


def test_a_member_without_a_backbone_has_no_banks() -> None:
    draem = create("draem", backbone=None)
    assert len(BackboneBanks([draem], (4, 8), SIZE)) == 0


def test_saved_arrays_restore_the_same_banks() -> None:
    backbone = random_backbone("resnet18")
    banks, again = make_banks(backbone), BackboneBanks([make_member(backbone)], (4, 8, 16), SIZE)
    again.restore(banks.tensors())
    new = make_batch(2, seed=5)
    for one, other in zip(banks.scores(new, GRID), again.scores(new, GRID), strict=True):
        torch.testing.assert_close(one, other)


def test_a_missing_bank_is_an_error_that_names_it() -> None:
    banks = make_banks()
    kept = {name: value for name, value in banks.tensors().items() if name != "2.bank"}
    with pytest.raises(KeyError, match=r"2\.bank"):
        banks.restore(kept)
