"""A class as a Hugging Face dataset, in memory and as a folder of Parquet files.

A folder holds `data/<split>-00000-of-00001.parquet` with the images and masks in it, byte for byte
as they are in the class, and a `README.md` whose front matter says which columns there are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    DatasetInfo,
    Features,
    Image,
    List,
    SplitDict,
    SplitInfo,
    Value,
)
from datasets.info import DatasetInfosDict
from datasets.table import embed_table_storage
from huggingface_hub import DatasetCard

from loco_tools import files
from loco_tools.datasets.images import encode_png
from loco_tools.datasets.reading import read_ahead
from loco_tools.datasets.sample import DatasetClass, Defect, Sample, Split
from loco_tools.progress import SILENT, Progress

KINDS = ("good", "structural", "logical")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def features() -> Features:
    """The columns: an image, its truth, and where it comes from.

    `saturation_px` is the area that has to be found for the defect to count as found. A mask is an
    8-bit image of one channel, 0 for background; `pixel_value` is null where any positive value
    belongs to the defect.
    """
    defect = {
        "name": Value("string"),
        "kind": Value("string"),
        "pixel_value": Value("int32"),
        "saturation_px": Value("int64"),
        "mask": Image(),
    }
    return Features(
        {
            "image": Image(mode="RGB"),
            "kind": ClassLabel(names=list(KINDS)),
            "defects": List(defect),
            "part": Value("string"),
            "view": Value("string"),
            "id": Value("string"),
            "kind_folder": Value("string"),
        }
    )


def dataset_dict(dataset: DatasetClass) -> DatasetDict:
    """The splits that have images; files are opened when an item is asked for."""
    as_stored = dataset.layout != "autovi"  # whose masks may be in colour
    return DatasetDict(
        {
            split: Dataset.from_list(
                [_row(s, as_stored) for s in samples], features=features(), split=split
            )
            for split in SPLITS
            if (samples := dataset.split(split))
        }
    )


def write_folder(
    dataset: DatasetClass,
    folder: Path,
    card: str,
    *,
    shard_images: int = 100,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Write the Parquet files and the card into `folder`.

    Args:
        dataset: the class.
        folder: exists and has no `data` in it.
        card: text of a data card; `configs` and `dataset_info` are set in its front matter.
        shard_images: images per file, all of which are in memory while it is written.
        progress: told of every image twice: when it was checked, and when it was written.

    Returns:
        Number of images by split.

    Raises:
        DatasetError: an image is damaged.
    """
    splits = SplitDict(dataset_name=dataset.name)
    (folder / "data").mkdir()
    with progress.task(f"export {dataset.name}", 2 * len(dataset)) as advance:
        for _ in read_ahead(dataset, with_masks=False):
            advance(1)
        for split, rows in dataset_dict(dataset).items():
            size = 0
            for path, table in _shards(folder / "data", str(split), rows, shard_images):
                pyarrow.parquet.write_table(table, path)
                size += table.nbytes
                advance(table.num_rows)
            splits.add(SplitInfo(str(split), size, len(rows)))
    files.write_text(folder / "README.md", _with_columns(card, splits, folder / "data"))
    return {str(name): split.num_examples for name, split in splits.items()}


def _with_columns(card: str, splits: SplitDict, data: Path) -> str:
    """The card with the front matter by which `datasets` finds files and columns."""
    written = DatasetCard(card)
    paths = [{"split": str(name), "path": f"data/{name}-*.parquet"} for name in splits]
    written.data["configs"] = [{"config_name": "default", "data_files": paths}]
    info = DatasetInfo(
        features=features(),
        splits=splits,
        download_size=sum(path.stat().st_size for path in data.iterdir()),
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(written.data)
    return str(written)


def _shards(folder: Path, split: str, rows: Dataset, size: int) -> Iterator[tuple[Path, Any]]:
    """The file and the Arrow table of each shard."""
    table = rows.data.table
    count = -(-len(rows) // size)
    for number in range(count):
        name = f"{split}-{number:05d}-of-{count:05d}.parquet"
        yield folder / name, embed_table_storage(table.slice(number * size, size))


def _row(sample: Sample, masks_as_stored: bool) -> dict[str, Any]:
    return {
        "image": str(sample.image_path),
        "kind": sample.kind,
        "defects": [
            {
                "name": defect.name,
                "kind": defect.kind,
                "pixel_value": defect.pixel_value,
                "saturation_px": defect.saturation_px,
                "mask": str(defect.mask_path) if masks_as_stored else _encoded(defect),
            }
            for defect in sample.defects
        ],
        "part": sample.part,
        "view": sample.view,
        "id": sample.id,
        "kind_folder": sample.kind_folder,
    }


def _encoded(defect: Defect) -> dict[str, Any]:
    return {"path": defect.mask_path.name, "bytes": encode_png(defect.values())}
