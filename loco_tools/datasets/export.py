"""Exporting a class: to another layout, or to a folder that Hugging Face's `datasets` opens."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loco_tools import files
from loco_tools.datasets import conversion
from loco_tools.datasets.conversion import Conversion
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.errors import DatasetError, did_you_mean
from loco_tools.extras import require
from loco_tools.lock import held_beside
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import json_text, markdown

Target = Literal["hf", "ad", "loco"]

_CONVERSIONS: Mapping[str, Callable[[DatasetClass, Path, Progress], Conversion]] = {
    "ad": conversion.to_mvtec_ad,
    "loco": conversion.to_mvtec_loco,
}


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes:
        class_name: the class.
        to: the target.
        folder: the folder that was written.
        sidecar: the file next to the folder that names the source of each image; None for "hf".
        images: number of images by folder ("test/crack") or, for "hf", by split.
        lost: what the target cannot represent.
    """

    class_name: str
    to: Target
    folder: Path
    sidecar: Path | None
    images: dict[str, int]
    lost: tuple[str, ...]

    def describe(self) -> str:
        """A few lines of text."""
        counts = ", ".join(f"{folder} {count}" for folder, count in self.images.items())
        return "\n".join(
            [f"{self.class_name}: {counts} -> {self.folder}", *(f"lost: {x}" for x in self.lost)]
        )

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        sidecar = None if self.sidecar is None else str(self.sidecar)
        return {**asdict(self), "folder": str(self.folder), "sidecar": sidecar}


def export(
    dataset: DatasetClass,
    to: Target,
    out: Path,
    *,
    card: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write a class to the folder `out`, which appears only when it is complete.

    - "hf": Parquet files and a README that `datasets.load_dataset(out)` opens, with images and
      masks byte for byte.
    - "ad": MVTec AD, a folder per defect type and one 0/255 mask per image; images with several
      types go to `combined`.
    - "loco": MVTec LOCO AD, one mask per defect; defects without a saturation saturate at 1.0.

    "ad" and "loco" renumber the images, copy PNG files byte for byte where the target allows it,
    and write `<out>.jsonl` next to the folder, which names the source of each image.

    Args:
        dataset: any class.
        to: the target: "hf", "ad" or "loco".
        out: the class folder, or the folder of the Hugging Face dataset, to be written.
        card: text of the data card for "hf"; by default one line with the counts of the class.
        overwrite: whether an existing folder is replaced.
        progress: advances by one per image.

    Raises:
        DatasetError: `out` exists, lies in the class or contains it; an image or a mask is
            damaged; or the target cannot represent the class.
        MissingExtraError: "hf" without Hugging Face's `datasets`.
    """
    if to not in ("hf", *_CONVERSIONS):
        raise DatasetError(f'unknown target "{to}"; {did_you_mean(to, ["hf", *_CONVERSIONS])}')
    out = out.absolute()
    sidecar = None if to == "hf" else sidecar_path(out)
    with held_beside(out, DatasetError, "name another folder"):
        files.settle(out)
        _check_target(dataset, out, sidecar, overwrite=overwrite)
        lost: tuple[str, ...] = ()
        if sidecar is None:
            require("an export to Hugging Face", "hub")
            from loco_tools.datasets.hugging_face import write_folder

            if card is None:
                front = f"---\npretty_name: {json_text(dataset.name)}\n---\n"
                described = "\n\n".join(map(markdown, dataset.describe().splitlines()))
                card = f"{front}\n# {markdown(dataset.name)}\n\n{described}\n"
            with files.folder_swapped_in(out) as fresh:
                images = write_folder(dataset, fresh, card, progress=progress)
        else:
            with files.swapped_in(out, sidecar) as (fresh, lines):
                fresh.mkdir()
                converted = _CONVERSIONS[to](dataset, fresh, progress)
                files.write_text(lines, converted.sidecar())
            images, lost = dict(sorted(converted.counts.items())), tuple(converted.lost)
    return ExportReport(dataset.name, to, out, sidecar, images, lost)


def _check_target(
    dataset: DatasetClass, out: Path, sidecar: Path | None, *, overwrite: bool
) -> None:
    source, target = dataset.path.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise DatasetError(
            f"{out}: expected a folder outside the class at {dataset.path} that does not contain "
            "it; next step: name another folder"
        )
    for path in (out, sidecar):
        if path is not None and path.exists() and not overwrite:
            raise DatasetError(
                f"{path}: exists; next step: name a new folder, or replace it with --overwrite"
            )
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: expected a folder to replace, got a file")
