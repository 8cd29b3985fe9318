"""`convert EXPORT --masks-only`: one mask per region of any export, without taxonomy or session."""

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import ImageFiles, Storages
from loco_tools.annotations.formats.regions import Region, Skipped
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.orientation import StoredImage, stored_image
from loco_tools.annotations.output_guard import check_holds_no_input
from loco_tools.datasets.images import write_png
from loco_tools.errors import AnnotationError, DatasetError
from loco_tools.lock import held_beside
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import loads_json
from loco_tools.wording import plural

RECORD = "regions.json"

_LONGEST_NAME_BYTES = 100


@dataclass(frozen=True)
class MaskedRegion:
    """One region that became a mask; `file` is relative to the output folder."""

    task: int | str
    image: str | None
    region: str | None
    type: str
    label: str | None
    area_px: int
    file: str


@dataclass(frozen=True)
class MasksReport:
    """The masks that were written, and the regions that could not become one."""

    out: Path
    regions: tuple[MaskedRegion, ...]
    skipped: tuple[Skipped, ...]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Numbers of masks made and regions skipped, by the region type of the export."""
        masked = Counter(region.type for region in self.regions)
        skipped = Counter(skip.type or "unreadable" for skip in self.skipped)
        return {kind: (masked[kind], skipped[kind]) for kind in sorted({*masked, *skipped})}

    def describe(self) -> str:
        """One line for a person, and one line for each reason to skip regions."""
        types = ", ".join(f"{count} {kind}" for kind, (count, _) in self.counts().items() if count)
        masks = plural(len(self.regions), "mask")
        lines = [f"{masks} ({types or 'none'}) -> {self.out}"]
        reasons = Counter((skip.type or "entry", skip.reason) for skip in self.skipped)
        lines += [f"skipped {n} {kind}: {reason}" for (kind, reason), n in reasons.items()]
        return "\n".join(lines)

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return {**asdict(self), "out": str(self.out)}


def export_masks(
    export: Path,
    out: Path,
    *,
    images: Path | None = None,
    alpha_threshold: int = 128,
    predictions: bool = False,
    storages: Storages | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> MasksReport:
    """Write one mask per region to `out/<task id>/<n>_<label>.png`, and `out/regions.json`.

    Masks have the values 0 and 255 and the original image size; n counts from 0 within a task.
    Labels and ids are made safe for file names. A task without a usable id is named by its number
    in the file, from 1.

    Images are optional. They are looked up by name in `images` and its subfolders, or in the folder
    of the export. An image supplies the size where the export does not, and its EXIF orientation:
    annotators draw on the upright image, and masks are rotated to fit the image as it is stored.

    Args:
        export: the export, in any format of `annotations.formats.FORMATS`.
        out: the folder to make; an earlier output there is replaced as a whole.
        images: a folder of the images; it is also searched for the file name at the end of a URL.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        predictions: write masks of predictions too.
        storages: local folders by the prefix of the image references that they stand for.
        overwrite: replace `out` even if it holds something else.
        progress: where progress is reported.

    Returns:
        The masks that were written, and the skipped regions with their reasons.

    Raises:
        AnnotationError: the export cannot be read, or `out` holds something else.
    """
    files.settle(out)
    _check_output(export, out, overwrite=overwrite)
    content = read_export(export, predictions=predictions)
    if images is None:
        nearby = [*export.parent.glob("*"), *export.parent.glob("images/*")]
        image_files = ImageFiles(nearby, storages=storages)
    elif images.is_dir():
        image_files = ImageFiles(images.rglob("*"), storages=storages, urls=True)
    else:
        raise AnnotationError(f"{images}: expected a folder of images, found none")
    export_images = _ExportImages(image_files)
    masked: list[MaskedRegion] = []
    masks_by_folder: Counter[str] = Counter()
    skipped = content.all_skipped()
    with (
        held_beside(out, AnnotationError, "name another folder with --out"),
        files.folder_swapped_in(out) as fresh,
        progress.task("masks", len(content.regions())) as advance,
    ):
        for region in content.regions():
            try:
                mask = export_images.mask_of(region, alpha_threshold)
            except (AnnotationError, DatasetError) as error:
                skipped.append(Skipped(region.task, region.id, region.type, str(error)))
            else:
                masked.append(_write_mask(fresh, region, mask, masks_by_folder))
            advance(1)
        record = {
            "regions": [asdict(region) for region in masked],
            "skipped": [asdict(skip) for skip in skipped],
        }
        files.write_json(fresh / RECORD, record)
    return MasksReport(out, tuple(masked), tuple(skipped))


class _ExportImages:
    """The images on which regions were drawn, as far as their files are there."""

    def __init__(self, image_files: ImageFiles) -> None:
        self._files = image_files
        self._by_reference: dict[str, StoredImage | None] = {}

    def mask_of(self, region: Region, alpha_threshold: int) -> Mask:
        """The mask on the stored image, or without its file at the size given by the export."""
        image = None
        if region.image is not None:
            try:
                if region.image not in self._by_reference:
                    path = self._files.find(region.image)
                    self._by_reference[region.image] = stored_image(path) if path else None
                image = self._by_reference[region.image]
            except (AnnotationError, DatasetError):
                if region.size is None:
                    raise
        if image is not None and image.fits(region):
            return image.mask_of(region, alpha_threshold=alpha_threshold)
        if region.size is None:
            raise AnnotationError(
                "the export gives no original_width and original_height, and the image "
                f"{region.image or '(no reference)'} was not found; next step: give the folder "
                "of the images"
            )
        return region.mask(region.size, alpha_threshold=alpha_threshold)


def _check_output(export: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that holds an input, or something else than an earlier output."""
    if out.exists() and not out.is_dir():
        raise AnnotationError(f"{out}: expected a folder for the masks, got a file")
    check_holds_no_input(out, [export])
    if not out.exists() or overwrite or not any(out.iterdir()):
        return
    try:
        record = loads_json(files.read_bytes(out / RECORD))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.keys() != {"regions", "skipped"}:
        raise AnnotationError(
            f"{out}: is not empty and was not written by --masks-only; next step: another --out, "
            "or --overwrite"
        )


def _write_mask(
    folder: Path, region: Region, mask: Mask, masks_by_folder: Counter[str]
) -> MaskedRegion:
    subfolder = _safe_name(str(region.task))
    number = masks_by_folder[subfolder.lower()]  # "A" and "a" are one folder on some systems
    masks_by_folder[subfolder.lower()] += 1
    label = "+".join(region.labels) or None
    file = f"{subfolder}/{number}_{_safe_name(label or 'unlabelled')}.png"
    write_png(folder / file, mask.astype(np.uint8) * 255)
    return MaskedRegion(
        task=region.task,
        image=region.image,
        region=region.id,
        type=region.type,
        label=label,
        area_px=int(np.count_nonzero(mask)),
        file=file,
    )


def _safe_name(name: str) -> str:
    """The name with every character but letters, digits, - and _ replaced; at most 100 bytes."""
    plain = re.sub(r"[^\w-]+", "_", name).encode("utf-8", "replace")
    return plain[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore") or "_"
