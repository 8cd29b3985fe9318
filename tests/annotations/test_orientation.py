from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import brush_region, make_region, make_task, write_export
from PIL import Image, ImageOps

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.regions import Region
from loco_tools.annotations.masks_only import export_masks
from loco_tools.annotations.orientation import stored_image
from loco_tools.datasets.images import read_image, read_mask
from loco_tools.errors import AnnotationError

ORIENTATIONS = range(1, 9)
HEIGHT, WIDTH = 24, 40


def coordinate_image(path: Path, orientation: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Each stored pixel holds its own row and column, as red and green."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.uint8)
    image = Image.fromarray(np.dstack((rows, columns, np.zeros_like(rows))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, lossless=True)
    return path


def upright(path: Path) -> np.ndarray[Any, Any]:
    """The image as a browser displays it."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def region_on(tmp_path: Path, item: Any) -> Region:
    (region,) = read_export(write_export(tmp_path / "export.json", make_task(item))).regions()
    return region


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_was_drawn_upright_covers_the_same_stored_pixels(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = coordinate_image(tmp_path / f"a{suffix}", orientation)
    shown = upright(path)
    height, width = shown.shape[:2]
    value = {"x": 10, "y": 20, "width": 30, "height": 15, "rotation": 20, "rectanglelabels": ["a"]}
    item = make_region(value=value, original_width=width, original_height=height)
    region = region_on(tmp_path, item)
    image = stored_image(path)
    assert (image.size, image.upright_size) == ((HEIGHT, WIDTH), (height, width))
    drawn = {tuple(pixel) for pixel in shown[region.mask((height, width))].tolist()}
    stored = {tuple(pixel) for pixel in read_image(path)[image.mask_of(region)].tolist()}
    assert len(drawn) > 30
    assert drawn == stored


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_brushes_without_a_size_are_turned_too(tmp_path: Path, orientation: int) -> None:
    path = coordinate_image(tmp_path / "a.png", orientation)
    shown = upright(path)
    painted = np.zeros(shown.shape[:2], dtype=bool)
    painted[2:5, 3:19] = True
    item = brush_region(painted, original_width=None, original_height=None)
    mask = stored_image(path).mask_of(region_on(tmp_path, item))
    assert np.array_equal(
        np.unique(read_image(path)[mask], axis=0), np.unique(shown[painted], axis=0)
    )


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_region_of_the_stored_size_was_drawn_as_stored(tmp_path: Path, orientation: int) -> None:
    path = coordinate_image(tmp_path / "a.png", orientation)
    painted = np.zeros((HEIGHT, WIDTH), dtype=bool)
    painted[2:5, 3:30] = True
    item = brush_region(painted, original_width=WIDTH, original_height=HEIGHT)
    assert np.array_equal(stored_image(path).mask_of(region_on(tmp_path, item)), painted)


def test_a_region_of_another_size_does_not_fit(tmp_path: Path) -> None:
    image = stored_image(coordinate_image(tmp_path / "a.png", 6))
    region = region_on(tmp_path, make_region(original_width=99, original_height=HEIGHT))
    assert not image.fits(region)
    with pytest.raises(AnnotationError, match=r"an image of 99 x 24 pixels, but .* has 24 x 40"):
        image.mask_of(region)


def test_tiffs_are_upright_as_they_are_read(tmp_path: Path) -> None:
    path = coordinate_image(tmp_path / "a.tiff", 6)
    image = stored_image(path)
    assert image.orientation == 1
    assert image.size == image.upright_size == read_image(path).shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_meaningless_orientation_is_upright(tmp_path: Path, orientation: int) -> None:
    assert stored_image(coordinate_image(tmp_path / "a.png", orientation)).orientation == 1


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_how_the_view_was_turned_while_drawing_does_not_matter(
    tmp_path: Path, rotation: int
) -> None:
    path = coordinate_image(tmp_path / "a.png", 1)
    sizes = {"original_width": WIDTH, "original_height": HEIGHT}
    plain, turned = (
        stored_image(path).mask_of(region_on(tmp_path, make_region(image_rotation=r, **sizes)))
        for r in (0, rotation)
    )
    assert np.array_equal(plain, turned)


def test_masks_only_turns_masks_when_it_finds_the_image(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    path = coordinate_image(images / "photo.png", 6)
    item = make_region(original_width=HEIGHT, original_height=WIDTH)
    export = write_export(tmp_path / "e" / "export.json", make_task(item))
    export_masks(export, tmp_path / "seen")
    export_masks(export, tmp_path / "stored", images=images)
    seen = read_mask(tmp_path / "seen/1/0_scratch.png")
    stored = read_mask(tmp_path / "stored/1/0_scratch.png")
    assert seen.shape == upright(path).shape[:2]
    assert stored.shape == (HEIGHT, WIDTH)
    assert np.array_equal(np.rot90(stored, -1), seen)
