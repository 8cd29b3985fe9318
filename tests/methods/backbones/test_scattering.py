import numpy as np
import torch

from loco_tools.methods.backbones.scattering import Scattering, morlet_bank
from loco_tools.methods.batch import Batch


def test_wavelets_have_mean_zero() -> None:
    assert morlet_bank().sum(dim=(1, 2, 3)).abs().max() < 1e-6


def test_taps_have_strides_8_and_16_and_their_channels() -> None:
    backbone = Scattering()
    shallow, deep = backbone.taps(torch.randn(2, 3, 64, 112))
    assert shallow.shape == (2, backbone.channels[0], 8, 14)
    assert deep.shape == (2, backbone.channels[1], 4, 7)
    assert shallow.isfinite().all()
    assert deep.isfinite().all()


def test_a_flat_image_has_no_texture_and_a_coloured_dot_is_seen_where_it_is() -> None:
    backbone = Scattering()
    flat = torch.zeros(1, 3, 64, 96)
    dotted = flat.clone()
    dotted[:, 0, 40:48, 72:80] += 1.5
    change = (backbone.taps(dotted)[0] - backbone.taps(flat)[0]).square().sum(dim=1)[0]
    assert divmod(int(change.argmax()), change.shape[1]) == (5, 9)


def test_mirrored_images_give_mirrored_feature_energy() -> None:
    # Cells cover whole pixels symmetrically: a shift of the grid would show here.
    backbone = Scattering()
    pixels = torch.randn(1, 3, 64, 96)
    energy = backbone.taps(pixels)[0].sum(dim=1)
    mirrored = backbone.taps(pixels.flip(3))[0].sum(dim=1)
    torch.testing.assert_close(mirrored.flip(2), energy, rtol=1e-3, atol=1e-3)


def test_dimmer_light_changes_features_far_less_than_a_defect_does() -> None:
    backbone, image = Scattering(), _striped()
    marked = image.copy()
    marked[20:30, 30:40] *= 0.6
    lit, dim, defective = (
        [backbone.relative(tap) for tap in _taps(backbone, one)]
        for one in (image, image * 0.5, marked)
    )
    for before, dimmed, after in zip(lit, dim, defective, strict=True):
        assert (before - dimmed).abs().mean() < 0.05 * before.std()
        assert (before - after).abs().amax() > 0.5 * before.std()


def test_distances_see_how_a_place_differs_from_its_image() -> None:
    backbone = Scattering()
    for tap in _taps(backbone, _striped()):
        assert backbone.relative(tap).flatten(2).median(dim=2).values.abs().max() < 1e-6


def _striped() -> np.ndarray:
    y, x = np.mgrid[:64, :96]
    noise = np.random.default_rng(0).normal(0, 6, (64, 96))
    return np.clip(150 + 40 * np.sin(x / 3) * np.sin(y / 5) + noise, 0, 255)


def _taps(backbone: Scattering, grey: np.ndarray) -> tuple[torch.Tensor, ...]:
    image = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    return backbone.taps(Batch([image]).pixels((64, 96)))
