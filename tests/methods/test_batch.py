import numpy as np
import pytest
import torch

from loco_tools.datasets.images import resize_image
from loco_tools.datasets.reading import Images
from loco_tools.errors import MethodError
from loco_tools.methods.backbones import STRIDES, named_backbone, random_backbone
from loco_tools.methods.batch import Batch, CachedBatches, batches, input_size, memo

PICTURES = [np.full((64, 64, 3), 40 * k, np.uint8) for k in range(5)]


def coordinates(height: int, width: int) -> np.ndarray:
    """Row and column as shares of the image in the first two channels, 0..255."""
    y = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
    x = np.broadcast_to(((np.arange(width) + 0.5) / width)[None], (height, width))
    return np.rint(255 * np.stack([y, x, 0 * x], axis=-1)).astype(np.uint8)


def test_keep_gives_the_shorter_side_and_the_median_ratio() -> None:
    assert input_size([(1000, 1600)] * 3 + [(500, 500)], 256, "keep") == (256, 416)
    assert input_size([(1600, 800)], 256, "keep") == (512, 256)


def test_square_ignores_the_ratio_and_sizes_are_multiples_of_16() -> None:
    assert input_size([(1000, 1600)], 250, "square") == (256, 256)
    assert input_size([(10, 10)], 1, "keep") == (16, 16)


@pytest.mark.parametrize("size", [(1280, 1600), (1600, 800), (1000, 1700), (850, 1700)])
def test_area_keeps_the_ratio_and_has_the_pixels_of_the_square(size: tuple[int, int]) -> None:
    height, width = input_size([size], 512, "area")
    assert height * width == pytest.approx(512**2, rel=0.03), "sides are multiples of 16"
    assert height / width == pytest.approx(size[0] / size[1], rel=0.03)


@pytest.mark.parametrize("size", [(64, 112), (160, 48), (200, 300)])
def test_resizing_keeps_coordinates(size: tuple[int, int]) -> None:
    resized = resize_image(coordinates(120, 90), size).astype(float) / 255
    expected = coordinates(*size).astype(float) / 255
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(resized[inner] - expected[inner]).max() < 0.012


def test_shrinking_averages_areas() -> None:
    checker = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    shrunk = resize_image(np.stack([checker] * 3, axis=-1).astype(np.uint8), (16, 16))
    assert set(np.unique(shrunk)) <= {127, 128}


def test_images_of_several_sizes_share_a_batch_and_are_normalised() -> None:
    batch = Batch([np.full((20, 50, 3), 255, np.uint8), np.zeros((70, 31, 3), np.uint8)])
    pixels = batch.pixels((32, 48))
    assert pixels.shape == (2, 3, 32, 48)
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-3)
    assert batch.sizes == [(20, 50), (70, 31)]


def test_detectors_that_share_a_backbone_share_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    first, second = random_backbone("squeezenet1_1"), random_backbone("squeezenet1_1")
    for backbone in (first, second):
        real = backbone.maps
        monkeypatch.setattr(backbone, "maps", lambda *x, real=real: calls.append(1) or real(*x))
    batch = Batch([np.zeros((64, 64, 3), np.uint8)])
    for backbone in (first, second, first):
        batch.maps(backbone, (64, 64), STRIDES)
    batch.maps(first, (64, 96), STRIDES)
    assert len(calls) == 2


@pytest.mark.parametrize(("keep_mb", "decoded", "passes"), [(1.0, 5, 3), (0.0, 10, 6)])
def test_what_is_gone_through_twice_is_kept_when_it_is_little(
    keep_mb: float, decoded: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, calls, read = random_backbone("squeezenet1_1"), [], []
    real = backbone.maps
    monkeypatch.setattr(backbone, "maps", lambda *x: calls.append(1) or real(*x))

    class Decoded(list):
        def __iter__(self):
            for image in super().__iter__():
                read.append(image)
                yield image

    twice = CachedBatches(Decoded(PICTURES), 2, "cpu", keep_mb=keep_mb)
    first, second = ([batch.maps(backbone, (64, 64), (8,))[0] for batch in twice] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert (len(read), len(calls)) == (decoded, passes)


def test_a_kept_batch_lets_go_of_all_but_maps() -> None:
    backbone = random_backbone("squeezenet1_1")
    twice = CachedBatches(PICTURES[:2], 2, "cpu")
    values = iter((0, 1))

    @memo
    def much(batch: Batch) -> torch.Tensor:
        return torch.full((10**6,), float(next(values)))

    for batch in twice:
        assert much(batch) is much(batch)
        batch.maps(backbone, (64, 64), (8,))
    kept = next(iter(twice))
    assert kept.stored_bytes == 2 * (64 * 64 * 3 + 256 * 7 * 7 * 4)  # a grid of 7 x 7
    assert float(much(kept)[0]) == 1


def test_a_part_of_a_batch_takes_the_backbones_maps_along(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, calls = random_backbone("squeezenet1_1"), []
    real = backbone.maps
    monkeypatch.setattr(backbone, "maps", lambda *x: calls.append(1) or real(*x))
    batch = Batch(PICTURES[:3])
    whole = batch.maps(backbone, (64, 64), STRIDES)
    some = batch.part([0, 2])
    assert [image is PICTURES[n] for image, n in zip(some.images, (0, 2), strict=True)] == [
        True
    ] * 2
    for one, other in zip(some.maps(backbone, (64, 64), STRIDES), whole, strict=True):
        torch.testing.assert_close(one, other[[0, 2]], rtol=0, atol=0)
    assert len(calls) == 1
    assert batch.part([0, 1, 2]) is batch


def test_a_pass_broken_off_keeps_nothing_and_starts_again() -> None:
    twice = CachedBatches(PICTURES, 2, "cpu")
    next(iter(twice))
    assert [len(batch) for batch in twice] == [2, 2, 1]


def test_batches_keep_the_order() -> None:
    images = [np.full((4, 4, 3), n, np.uint8) for n in range(5)]
    found = [[int(i[0, 0, 0]) for i in b.images] for b in batches(images, 2, "cpu")]
    assert found == [[0, 1], [2, 3], [4]]


def test_batches_of_samples_are_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    # Images decodes ahead only while it is iterated over, not when it is indexed.
    images = Images([])
    passes = []
    pixels = [np.full((4, 4, 3), n, np.uint8) for n in range(3)]
    monkeypatch.setattr(Images, "__iter__", lambda self: passes.append(1) or iter(pixels))
    assert [len(batch) for batch in batches(images, 2, "cpu")] == [2, 1]
    assert passes == [1]


def test_an_array_that_is_no_rgb_image_is_an_error() -> None:
    with pytest.raises(MethodError, match=r"expected an RGB image .* got shape \(8, 8\) uint8"):
        Batch([np.zeros((8, 8), np.uint8)]).pixels((16, 16))
    assert torch.device("cpu") == Batch([]).device


def test_maps_less_their_medians_are_computed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = named_backbone("scattering")
    calls: list[int] = []
    real = backbone.relative
    monkeypatch.setattr(backbone, "relative", lambda maps: calls.append(1) or real(maps))
    batch = Batch([np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)])
    found = [batch.relative_maps(backbone, (64, 64), strides) for strides in ((8,), (8, 16))]
    assert len(calls) == 2
    assert found[0][0] is found[1][0]
    torch.testing.assert_close(found[1][1], real(batch.maps(backbone, (64, 64), (16,))[0]))
