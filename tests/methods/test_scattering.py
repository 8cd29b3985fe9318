import torch

from loco_tools.methods.scattering import Scattering, morlet_bank


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
