"""`convert EXPORT --masks-only`: every region of any export as a mask, without a taxonomy."""

import json
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
from loco_tools.annotations.output_guard import check_spares
from loco_tools.datasets.images import write_png
from loco_tools.errors import AnnotationError, DatasetError
from loco_tools.progress import SILENT, Progress

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
    """What became of an export's regions."""

    out: Path
    regions: tuple[MaskedRegion, ...]
    skipped: tuple[Skipped, ...]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Masks made and regions skipped, by the export's word for the type."""
        made = Counter(region.type for region in self.regions)
        left = Counter(skip.type or "unreadable" for skip in self.skipped)
        return {kind: (made[kind], left[kind]) for kind in sorted({*made, *left})}

    def describe(self) -> str:
        """One line for a person, and one more for each reason to skip."""
        types = ", ".join(f"{made} {kind}" for kind, (made, _) in self.counts().items() if made)
        lines = [f"{len(self.regions)} masks ({types or 'none'}) -> {self.out}"]
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

    Masks are 0/255 at the original image size; n counts from 0 within a task. Labels and ids are
    made safe for file names. A task without a usable id goes by its place in the file, from 1.
    The image is looked for by name, in `images` and its subfolders, or beside the export. It tells
    its size where the export does not, and whether it is stored turned: annotators saw such an
    image upright, and its masks are turned to fit it as it is stored.

    Args:
        export: the export.
        out: the folder to make; an earlier output there is replaced whole.
        images: a folder of the images; the file name at the end of a URL is looked for there too.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        predictions: also take predictions.
        storages: folders by the beginning of the image references that they stand for.
        overwrite: replace `out` even if it holds something else.
        progress: where to report to.

    Raises:
        AnnotationError: the export cannot be read, or `out` holds something else.
    """
    _check_target(export, out, overwrite=overwrite)
    content = read_export(export, predictions=predictions)
    shown = _Shown(_image_files(export, images, storages))
    made: list[MaskedRegion] = []
    taken: Counter[str] = Counter()
    skipped = content.all_skipped()
    with (
        files.folder_swapped_in(out) as fresh,
        progress.task("masks", len(content.regions())) as advance,
    ):
        for region in content.regions():
            try:
                mask = shown.mask_of(region, alpha_threshold)
            except (AnnotationError, DatasetError) as error:
                skipped.append(Skipped(region.task, region.id, region.type, str(error)))
            else:
                made.append(_write(fresh, region, mask, taken))
            advance(1)
        _write_record(fresh, made, skipped)
    return MasksReport(out, tuple(made), tuple(skipped))


class _Shown:
    """The images that regions lie on, as far as they are found."""

    def __init__(self, found: ImageFiles) -> None:
        self._files = found
        self._images: dict[str, StoredImage | None] = {}

    def mask_of(self, region: Region, alpha_threshold: int) -> Mask:
        """The mask on the stored image, else at the size that the export tells."""
        try:
            image = self._image(region.image)
        except (AnnotationError, DatasetError):
            if region.size is None:
                raise
            image = None
        if image is not None and image.fits(region):
            return image.mask_of(region, alpha_threshold=alpha_threshold)
        if region.size is None:
            raise AnnotationError(
                "the export tells no original_width and original_height, and the image "
                f"{region.image or '(no reference)'} was not found; next step: give the folder "
                "of the images"
            )
        return region.mask(region.size, alpha_threshold=alpha_threshold)

    def _image(self, reference: str | None) -> StoredImage | None:
        if reference is None:
            return None
        if reference not in self._images:
            path = self._files.find(reference)
            self._images[reference] = stored_image(path) if path else None
        return self._images[reference]


def _image_files(export: Path, images: Path | None, storages: Storages | None) -> ImageFiles:
    if images is None:
        beside = [*export.parent.glob("*"), *export.parent.glob("images/*")]
        return ImageFiles(beside, storages=storages)
    if not images.is_dir():
        raise AnnotationError(f"{images}: expected a folder of images, found none")
    return ImageFiles(images.rglob("*"), storages=storages, urls=True)


def _check_target(export: Path, out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise AnnotationError(f"{out}: expected a folder for the masks, got a file")
    check_spares(out, [export])
    if not overwrite and any(out.iterdir()) and not _is_earlier_output(out):
        raise AnnotationError(
            f"{out}: is not empty and was not written by --masks-only; next step: another --out, "
            "or --overwrite"
        )


def _is_earlier_output(out: Path) -> bool:
    try:
        record = json.loads((out / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.keys() == {"regions", "skipped"}


def _write(folder: Path, region: Region, mask: Mask, taken: Counter[str]) -> MaskedRegion:
    subfolder = _safe_name(str(region.task))
    number = taken[subfolder.lower()]  # "A" and "a" are one folder on some systems
    taken[subfolder.lower()] += 1
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
    """Letters, digits, - and _ of any script; everything else becomes _; at most 100 bytes."""
    plain = re.sub(r"[^\w-]+", "_", name).encode("utf-8", "replace")
    return plain[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore") or "_"


def _write_record(folder: Path, made: list[MaskedRegion], skipped: list[Skipped]) -> None:
    record: dict[str, list[dict[str, Any]]] = {
        "regions": [asdict(region) for region in made],
        "skipped": [asdict(skip) for skip in skipped],
    }
    files.write_json(folder / RECORD, record)
