"""`convert EXPORT --masks-only`: one mask per region of any export, without taxonomy or session."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import ImageFiles, Storages, shown
from loco_tools.annotations.formats.regions import Region, Skipped, percent_notes, summarise
from loco_tools.annotations.formats.shapes import Mask, extent_percent
from loco_tools.annotations.orientation import StoredImage, stored_image
from loco_tools.annotations.output_guard import check_holds_no_input
from loco_tools.datasets.images import write_png
from loco_tools.errors import AnnotationError, DatasetError
from loco_tools.lock import held_beside
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import loads_json
from loco_tools.wording import listed, plural

RECORD = "regions.json"

MOST_CLAIMED_PIXELS = 10_000_000_000
"""Pixels that all regions together may claim on images whose files are not there."""

_LONGEST_NAME_BYTES = 100


@dataclass(frozen=True)
class MaskedRegion:
    """One region that became a mask; `file` is relative to the output folder.

    `item_index` is the index of its image among those of its task, or of its page, from 0.
    """

    task: int | str
    image: str | None
    region: str | None
    type: str
    label: str | None
    area_px: int
    file: str
    item_index: int


@dataclass(frozen=True)
class MasksReport:
    """The masks that were written, and every region that became none.

    Attributes:
        out: the folder of the masks.
        regions: the regions that became a mask.
        skipped: the regions that could not become one.
        left_out: the regions that did not count (cancelled, drafts, predictions).
        notes: remarks for a person: images that were not found or do not fit, coordinates that are
            not percent.
    """

    out: Path
    regions: tuple[MaskedRegion, ...]
    skipped: tuple[Skipped, ...]
    left_out: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, tuple[int, int]]:
        """Numbers of masks made and regions skipped, by the region type of the export."""
        masked = Counter(region.type for region in self.regions)
        skipped = Counter(skip.type or "unreadable" for skip in self.skipped)
        return {kind: (masked[kind], skipped[kind]) for kind in sorted({*masked, *skipped})}

    def describe(self) -> str:
        """One line for a person, and one line for each reason to leave out regions."""
        types = ", ".join(f"{count} {kind}" for kind, (count, _) in self.counts().items() if count)
        masks = plural(len(self.regions), "mask")
        lines = [f"{masks} ({types or 'none'}) -> {self.out}"]
        reasons = Counter((skip.type or "entry", skip.reason) for skip in self.skipped)
        lines += [f"skipped {n} {kind}: {reason}" for (kind, reason), n in reasons.items()]
        not_counted = Counter(skip.reason for skip in self.left_out)
        lines += [f"left out {plural(n, 'region')}: {why}" for why, n in not_counted.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def check_not_empty(self, export: Path) -> None:
        """Raise an error that says why no region became a mask.

        Raises:
            AnnotationError: there is no mask.
        """
        if self.regions:
            return
        found = summarise([*self.skipped, *self.left_out])
        raise AnnotationError(
            f"{export}: expected regions of submitted annotations, got {found or 'none'}; next "
            f"step: {self._next_step()}"
        )

    def _next_step(self) -> str:
        if self.skipped:
            return f"see {self.out / RECORD}"
        reasons = " ".join(skip.reason for skip in self.left_out)
        if "prediction" in reasons:
            return "convert the predictions with --predictions, or submit annotations and export"
        return "submit annotations in Label Studio, and export them as JSON"

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
    of the export. An image supplies the size where the export gives none or another one, and its
    EXIF orientation: annotators draw on the upright image, and masks are rotated to fit the image
    as it is stored. Regions whose image is not there get the size that the export gives, up to
    `MOST_CLAIMED_PIXELS` in all.

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
        The masks that were written, the other regions with their reasons, and notes.

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
    drawn = content.regions()
    masked: list[MaskedRegion] = []
    masks_by_folder: Counter[str] = Counter()
    skipped = content.all_skipped()
    with (
        held_beside(out, AnnotationError, "name another folder with --out"),
        files.folder_swapped_in(out) as fresh,
        progress.task("masks", len(drawn)) as advance,
    ):
        for region in drawn:
            try:
                mask = export_images.mask_of(region, alpha_threshold)
            except (AnnotationError, DatasetError) as error:
                skipped.append(Skipped(region.task, region.id, region.type, str(error)))
            else:
                masked.append(_write_mask(fresh, region, mask, masks_by_folder))
            advance(1)
        notes = [*export_images.notes(), *percent_notes(drawn)]
        left_out = content.left_out()
        record = {
            "regions": [asdict(region) for region in masked],
            "skipped": [asdict(skip) for skip in skipped],
            "left_out": [asdict(skip) for skip in left_out],
            "notes": notes,
        }
        files.write_json(fresh / RECORD, record)
    return MasksReport(out, tuple(masked), tuple(skipped), tuple(left_out), tuple(notes))


class _ExportImages:
    """The images on which regions were drawn, as far as their files are there."""

    def __init__(self, image_files: ImageFiles) -> None:
        self._files = image_files
        self._by_reference: dict[str, StoredImage | None] = {}
        self._not_found: dict[str, list[Region]] = {}
        self._other_size: list[str] = []
        self._claimed_pixels = 0

    def mask_of(self, region: Region, alpha_threshold: int) -> Mask:
        """The mask on the stored image, or without its file at the size given by the export."""
        image = self._image_of(region)
        if isinstance(image, str):
            mask = self._claimed_mask(region, alpha_threshold)
            self._not_found.setdefault(image, []).append(region)
            return mask
        if image.fits(region):
            return image.mask_of(region, alpha_threshold=alpha_threshold)
        if extent_percent(region.shape, region.value) is None:
            raise AnnotationError(image.misfit(region))
        mask = image.mask_of(replace(region, size=None), alpha_threshold=alpha_threshold)
        self._other_size.append(image.misfit(region).partition(";")[0])
        return mask

    def notes(self) -> list[str]:
        """What is said about images that were not found, or not as the export describes them."""
        notes = []
        for reason, regions in self._not_found.items():
            images = list(dict.fromkeys(shown(r.image or "no image") for r in regions))
            notes.append(
                f"{plural(len(regions), 'region')} on {plural(len(images), 'image')}: {reason} "
                f"({listed(images)}); their masks have the size that the export gives, and do not "
                "follow an EXIF orientation"
            )
        if self._other_size:
            notes.append(
                f"{plural(len(self._other_size), 'region')} drawn on an image of another size than "
                f"the file; the masks have the size of the file: {listed(self._other_size, 3)}"
            )
        respelt = [f"{shown(name)} -> {path.name}" for name, path in self._files.respelt.items()]
        if respelt:
            notes.append(
                f"{plural(len(respelt), 'image')} found under another spelling of the name: "
                f"{listed(respelt)}"
            )
        return notes

    def _image_of(self, region: Region) -> StoredImage | str:
        """The image file; if it is not there and the export gives a size, the reason."""
        reference, reason = region.image, "the task names no image"
        if reference is not None:
            try:
                if reference not in self._by_reference:
                    path = self._files.find(reference)
                    self._by_reference[reference] = stored_image(path) if path else None
                if image := self._by_reference[reference]:
                    return image
                reason = "no file of that name was found"
            except (AnnotationError, DatasetError) as error:
                if region.size is None:
                    raise
                reason = str(error).partition("; next step")[0].rpartition("refused, ")[2]
        if region.size is None:
            raise AnnotationError(
                "the export gives no original_width and original_height, and the image "
                f"{region.image or '(no reference)'} was not found; next step: give the folder "
                "of the images"
            )
        return reason

    def _claimed_mask(self, region: Region, alpha_threshold: int) -> Mask:
        """The mask at the size that the export gives, unless it has claimed too many pixels."""
        height, width = region.size or (0, 0)
        self._claimed_pixels += height * width
        if self._claimed_pixels > MOST_CLAIMED_PIXELS:
            raise AnnotationError(
                f"refused, the export claims more than {MOST_CLAIMED_PIXELS:,} pixels in images "
                "that are not there; next step: give the folder of the images"
            )
        return region.mask((height, width), alpha_threshold=alpha_threshold)


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
    if not isinstance(record, dict) or not record.keys() >= {"regions", "skipped"}:
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
        item_index=region.item_index,
    )


def _safe_name(name: str) -> str:
    """The name with every character but letters, digits, - and _ replaced; at most 100 bytes."""
    plain = re.sub(r"[^\w-]+", "_", name).encode("utf-8", "replace")
    return plain[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore") or "_"
