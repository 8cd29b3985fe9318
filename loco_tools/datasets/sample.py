"""The data model of every layout: a class has samples, and a sample has an image and its defects.

Images are decoded at each access and are not kept. Masks are decoded once, when a class is loaded,
because their pixel values identify the defects; they are kept in a packed form of a few kilobytes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels, image_size, read_image, read_mask
from loco_tools.datasets.masks import PackedMask
from loco_tools.errors import DatasetError, did_you_mean
from loco_tools.extras import require
from loco_tools.wording import plural, printable

if TYPE_CHECKING:
    from datasets import DatasetDict

    from loco_tools.datasets.torch_dataset import SampleDataset, Transform

Split = Literal["train", "validation", "test"]
Kind = Literal["good", "structural", "logical"]
Layout = Literal["mvtec_ad", "mvtec_loco", "autovi"]


@dataclass(frozen=True)
class Threshold:
    """A saturation threshold of `defects_config.json`: a share of the defect, or pixels."""

    value: float
    relative: bool

    def area_px(self, defect_area_px: int) -> int:
        """The saturation area in pixels of a defect with `defect_area_px` pixels, at least 1.

        As in the official evaluation, relative thresholds are truncated to whole pixels and
        absolute ones are capped by the defect's area. Deviation: an area that truncates to 0
        becomes 1; the official evaluation divides by zero there.
        """
        if self.relative:
            return max(1, int(self.value * defect_area_px))
        return max(1, min(int(self.value), defect_area_px))


@dataclass(frozen=True)
class Defect:
    """One defect instance of one image, which is one ground truth channel.

    Attributes:
        name: the defect type, for example "missing_hole".
        kind: "structural" or "logical".
        mask_path: the mask file.
        pixel_value: the value of the defect's pixels in the file; None if any positive value
            counts, as in MVTec AD.
        threshold: the saturation threshold; None in layouts without saturation, where a defect
            saturates at its whole area.
        packed: the mask as it was when the class was loaded.
    """

    name: str
    kind: Literal["structural", "logical"]
    mask_path: Path
    pixel_value: int | None = None
    threshold: Threshold | None = None
    packed: PackedMask | None = field(default=None, compare=False, repr=False)

    def values(self) -> Pixels:
        """The mask with the pixel values of its file, (H, W) uint8; background is 0."""
        if self.packed is None or self.pixel_value is None:
            return read_mask(self.mask_path)
        return self.packed.unpack().view(np.uint8) * np.uint8(self.pixel_value)

    @property
    def saturation_note(self) -> str | None:
        """A note on an unusual saturation area; None if there is nothing unusual."""
        if self.threshold is None:
            return None
        if self.threshold.relative and self.threshold.value * self.area_px < 1:
            return "masks whose relative saturation threshold rounds to 0 px, counted as 1 px"
        if not self.threshold.relative and self.threshold.value > self.area_px:
            return "masks smaller than their saturation threshold, counted by their area"
        return None

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask, (H, W) bool; a new array at every access."""
        return self.values() > 0 if self.packed is None else self.packed.unpack()

    @property
    def area_px(self) -> int:
        """Number of the defect's pixels."""
        return int(np.count_nonzero(self.mask)) if self.packed is None else self.packed.area_px

    @property
    def saturation_px(self) -> int:
        """Number of pixels that must be detected for the defect to count as fully detected."""
        area = self.area_px
        return area if self.threshold is None else self.threshold.area_px(area)


@dataclass(frozen=True)
class Sample:
    """One image with its ground truth.

    Attributes:
        id: the stem of the file name.
        class_name: the name of the class folder.
        split: "train", "validation" or "test".
        kind: "good", "structural" or "logical".
        kind_folder: the folder of the image under its split ("good", "logical_anomalies",
            "crack"); its anomaly map lies in a folder of the same name.
        image_path: the image file.
        defects: one entry per mask.
        part: the physical part in the image, where the sidecar names it.
        view: the view from which the part was photographed, where the sidecar names it.
        part_kind: the kind of the whole part, where the sidecar names it; a defective part can look
            good in some views.
    """

    id: str
    class_name: str
    split: Split
    kind: Kind
    kind_folder: str
    image_path: Path
    defects: tuple[Defect, ...] = ()
    part: str | None = None
    view: str | None = None
    part_kind: Kind | None = None

    def image(self) -> Pixels:
        """The image, (H, W, 3) uint8 RGB; decoded at every call.

        Raises:
            DatasetError: the file is missing or damaged.
        """
        return read_image(self.image_path)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, read from the file's header."""
        return image_size(self.image_path)

    def ground_truth(self) -> npt.NDArray[np.bool_]:
        """The union of all defect masks, (H, W) bool.

        Raises:
            DatasetError: a mask has another size than the image.
        """
        union = np.zeros(self.size, dtype=bool)
        for defect in self.defects:
            mask = defect.mask
            if mask.shape != union.shape:
                raise DatasetError(
                    f"{defect.mask_path}: expected a mask of {union.shape} (height, width) like "
                    f"its image, got {mask.shape}"
                )
            union |= mask
        return union


@dataclass(frozen=True)
class DatasetClass:
    """One class of a dataset in any layout: its samples by split, in the order of their files."""

    name: str
    path: Path
    layout: Layout
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def __repr__(self) -> str:
        return printable(f"<DatasetClass {self.describe()}>")

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split.

        Raises:
            DatasetError: `name` is not "train", "validation" or "test".
        """
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise DatasetError(
                f"{self.name}: unknown split {name!r}; {did_you_mean(str(name), splits)}"
            )
        return splits[name]

    def __iter__(self) -> Iterator[Sample]:
        """Every sample: first train, then validation, then test."""
        yield from (*self.train, *self.validation, *self.test)

    def __len__(self) -> int:
        """Number of samples over all splits."""
        return len(self.train) + len(self.validation) + len(self.test)

    def torch(
        self, split: Split = "train", transform: "Transform | None" = None
    ) -> "SampleDataset":
        """One split as a `torch.utils.data.Dataset`; `SampleDataset` describes its items.

        Args:
            split: "train", "validation" or "test".
            transform: called as `transform(image, masks)`, as torchvision's v2 transforms are, so
                that images and masks are transformed together.

        Raises:
            DatasetError: `split` is not the name of a split.
            MissingExtraError: torch is not installed.
        """
        samples = self.split(split)
        require("a torch dataset", "bench")
        # Imported here because torch is optional, and because that module builds on this one.
        from loco_tools.datasets.torch_dataset import SampleDataset

        return SampleDataset(samples, transform)

    def to_hf(self) -> "DatasetDict":
        """The class as a `datasets.DatasetDict`; `hugging_face.features` describes its columns.

        Raises:
            MissingExtraError: Hugging Face's `datasets` is not installed.
        """
        require("a Hugging Face dataset", "hub")
        # Imported here because `datasets` is optional, and because that module builds on this one.
        from loco_tools.datasets.hugging_face import dataset_dict

        return dataset_dict(self)

    def describe(self) -> str:
        """One line with the name, the layout, the number of images by split, and of masks."""
        kinds = Counter(sample.kind_folder for sample in self.test)
        test = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
        masks = sum(len(sample.defects) for sample in self)
        return (
            f"{self.name} ({self.layout}): train {len(self.train)}, "
            f"validation {len(self.validation)}, test {test}; {plural(masks, 'mask')}"
        )
