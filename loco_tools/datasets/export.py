"""Exporting a class: to another layout, or to a folder that Hugging Face's `datasets` opens."""

import json
from collections.abc import Callable, Mapping, Sequence
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
from loco_tools.progress import SILENT, Progress

Target = Literal["hf", "ad", "loco"]

_CONVERSIONS: Mapping[str, Callable[[DatasetClass, Path, Progress], Conversion]] = {
    "ad": conversion.to_mvtec_ad,
    "loco": conversion.to_mvtec_loco,
}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and what the target cannot hold.

    `images` counts by folder ("test/crack") or, for Hugging Face, by split; `sidecar` is the file
    beside the folder that says which image came from where.
    """

    class_name: str
    to: Target
    folder: Path
    sidecar: Path | None
    images: dict[str, int]
    lost: tuple[str, ...]

    def describe(self) -> str:
        """A few lines for a person."""
        counts = ", ".join(f"{place} {count}" for place, count in self.images.items())
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
    """Write a class to the folder `out`; it is built aside and swapped in whole.

    - "hf": Parquet files and a README that `datasets.load_dataset(out)` opens, with images and
      masks byte for byte.
    - "ad": MVTec AD, a folder per defect type and one 0/255 mask per image; images with several
      types go to `combined`.
    - "loco": MVTec LOCO AD, one mask per defect; defects without a saturation saturate at 1.0.

    The two layouts number their images anew, keep PNG files byte for byte where the target takes
    them, and write `<out>.jsonl` beside the folder, which says which image came from where.

    Args:
        dataset: any class.
        to: the target.
        out: becomes the class folder, or the folder of the Hugging Face dataset.
        card: text of the data card for "hf"; by default one line on what the class holds.
        overwrite: replace what is there.
        progress: told of every image.

    Raises:
        DatasetError: `out` exists, or lies in the class or around it; an image or a mask is
            damaged; or the class does not fit into the target.
        MissingExtraError: "hf" without Hugging Face's `datasets`.
    """
    if to not in ("hf", *_CONVERSIONS):
        raise DatasetError(f'unknown target "{to}"; {did_you_mean(to, ["hf", *_CONVERSIONS])}')
    out = out.absolute()
    beside = () if to == "hf" else (sidecar_path(out),)
    _check_target(dataset, out, beside, overwrite=overwrite)
    if to == "hf":
        return _to_hugging_face(dataset, out, card, progress)
    with files.folder_swapped_in(out) as fresh:
        made = _CONVERSIONS[to](dataset, fresh, progress)
    sidecar = sidecar_path(out)
    files.write_text(sidecar, made.sidecar())
    return ExportReport(
        dataset.name, to, out, sidecar, dict(sorted(made.counts.items())), tuple(made.lost)
    )


def _check_target(
    dataset: DatasetClass, out: Path, beside: Sequence[Path], *, overwrite: bool
) -> None:
    source, target = dataset.path.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise DatasetError(
            f"{out}: expected a folder apart from the class at {dataset.path}; next step: name "
            "another one"
        )
    for path in (out, *beside):
        if path.exists() and not overwrite:
            raise DatasetError(
                f"{path}: exists; next step: name a new folder, or replace it with --overwrite"
            )
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: expected a folder to replace, got a file")


def _to_hugging_face(
    dataset: DatasetClass, out: Path, card: str | None, progress: Progress
) -> ExportReport:
    require("an export to Hugging Face", "hub")
    from loco_tools.datasets.hugging_face import write_folder

    text = _minimal_card(dataset) if card is None else card
    with files.folder_swapped_in(out) as fresh:
        images = write_folder(dataset, fresh, text, progress=progress)
    return ExportReport(dataset.name, "hf", out, None, images, ())


def _minimal_card(dataset: DatasetClass) -> str:
    front = f"---\npretty_name: {json.dumps(dataset.name)}\n---\n"
    return f"{front}\n# {dataset.name}\n\n{dataset.describe()}\n"
