"""A class as a Hugging Face dataset, in memory and as a folder of Parquet files.

A folder has `data/<split>-00000-of-00001.parquet`, which contains the images and masks byte for
byte as in the class, and a `README.md` whose front matter lists the columns.
"""

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
from loco_tools.datasets.sample import DatasetClass, Sample, Split
from loco_tools.progress import SILENT, Progress

KINDS = ("good", "structural", "logical")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def features() -> Features:
    """The columns: an image, its ground truth, and its part and view.

    `saturation_px` is the area that must be detected for the defect to count as fully detected. A
    mask is an 8-bit image with one channel, 0 for background; `pixel_value` is null where every
    positive value belongs to the defect.
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
    """The splits that have images; files are opened when an item is accessed."""
    in_colour = dataset.layout == "autovi"
    splits = {}
    for split in SPLITS:
        if samples := dataset.split(split):
            rows = [_make_row(sample, in_colour=in_colour) for sample in samples]
            splits[split] = Dataset.from_list(rows, features=features(), split=split)
    return DatasetDict(splits)


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
        folder: an existing folder without `data` in it.
        card: text of a data card; `configs` and `dataset_info` are set in its front matter.
        shard_images: images per file; all images of a file are in memory while it is written.
        progress: advances twice per image: when it was checked, and when it was written.

    Returns:
        Number of images by split.

    Raises:
        DatasetError: an image is damaged.
    """
    splits = SplitDict(dataset_name=dataset.name)
    data = folder / "data"
    data.mkdir()
    with progress.task(f"export {dataset.name}", 2 * len(dataset)) as advance:
        for _ in read_ahead(dataset, with_masks=False):
            advance(1)
        for split, rows in dataset_dict(dataset).items():
            size, shards = 0, -(-len(rows) // shard_images)
            for number in range(shards):
                start = number * shard_images
                table = embed_table_storage(rows.data.table.slice(start, shard_images))
                pyarrow.parquet.write_table(
                    table, data / f"{split}-{number:05d}-of-{shards:05d}.parquet"
                )
                size += table.nbytes
                advance(table.num_rows)
            splits.add(SplitInfo(str(split), size, len(rows)))
    files.write_text(folder / "README.md", _add_columns(card, splits, data))
    return {str(name): split.num_examples for name, split in splits.items()}


def _add_columns(card: str, splits: SplitDict, data: Path) -> str:
    """The card with the front matter in which `datasets` finds files and columns."""
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


def _make_row(sample: Sample, *, in_colour: bool) -> dict[str, Any]:
    """One row of the table; masks that may be stored in colour are encoded again in one channel."""
    return {
        "image": str(sample.image_path),
        "kind": sample.kind,
        "defects": [
            {
                "name": defect.name,
                "kind": defect.kind,
                "pixel_value": defect.pixel_value,
                "saturation_px": defect.saturation_px,
                "mask": {"path": defect.mask_path.name, "bytes": encode_png(defect.values())}
                if in_colour
                else str(defect.mask_path),
            }
            for defect in sample.defects
        ],
        "part": sample.part,
        "view": sample.view,
        "id": sample.id,
        "kind_folder": sample.kind_folder,
    }
