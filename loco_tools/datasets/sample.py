"""What every layout is read into: a class of samples, each with its image and its truth.

No image is decoded until it is asked for, and none is kept. Masks are decoded when a class is
loaded, because their values say which defects they are, and are kept packed, a few kilobytes each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels, image_size, read_image, read_mask
from loco_tools.datasets.masks import PackedMask
from loco_tools.datasets.reading import read_ahead
from loco_tools.errors import DatasetError
from loco_tools.extras import require

if TYPE_CHECKING:
    from datasets import DatasetDict

    from loco_tools.datasets.torch_dataset import SampleDataset, Transform

Split = Literal["train", "validation", "test"]
Kind = Literal["good", "structural", "logical"]
Layout = Literal["mvtec_ad", "mvtec_loco", "autovi"]


@dataclass(frozen=True)
class Threshold:
    """A saturation threshold as `defects_config.json` states it: a share of the area, or pixels."""

    value: float
    relative: bool

    def area_px(self, defect_area_px: int) -> int:
        """The saturation area of a defect of that size in pixels, at least 1.

        Relative thresholds truncate and absolute ones are capped by the defect's area, as in the
        official evaluation. Deviation: an area that truncates to 0 becomes 1 instead of dividing
        by zero.
        """
        if self.relative:
            return max(1, int(self.value * defect_area_px))
        return max(1, min(int(self.value), defect_area_px))


@dataclass(frozen=True)
class Defect:
    """One defect instance of one image: one ground truth channel.

    `pixel_value` is the value in the mask file (None: any positive value, as in MVTec AD);
    `threshold` is None where the layout has no saturation, which then means the whole area;
    `packed` is the mask as it was when the class was loaded.
    """

    name: str
    kind: Literal["structural", "logical"]
    mask_path: Path
    pixel_value: int | None = None
    threshold: Threshold | None = None
    packed: PackedMask | None = field(default=None, compare=False, repr=False)

    def values(self) -> Pixels:
        """The mask with its value, (H, W) uint8 with 0 for background."""
        if self.packed is None or self.pixel_value is None:
            return read_mask(self.mask_path)
        return self.packed.unpack().view(np.uint8) * np.uint8(self.pixel_value)

    @property
    def saturation_note(self) -> str | None:
        """What is odd about the saturation area, if anything is."""
        if self.threshold is None:
            return None
        if self.threshold.relative and self.threshold.value * self.area_px < 1:
            return "masks whose relative saturation threshold rounds to 0 px, counted as 1 px"
        if not self.threshold.relative and self.threshold.value > self.area_px:
            return "masks smaller than their saturation threshold, counted by their area"
        return None

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool, true where the defect is; a new array at every access."""
        return self.values() > 0 if self.packed is None else self.packed.unpack()

    @property
    def area_px(self) -> int:
        """Pixels of the defect."""
        return int(np.count_nonzero(self.mask)) if self.packed is None else self.packed.area_px

    @property
    def saturation_px(self) -> int:
        """Pixels that must be found for the defect to count as found."""
        area = self.area_px
        return area if self.threshold is None else self.threshold.area_px(area)


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    `kind_folder` is the folder of the image under its split ("good", "logical_anomalies",
    "crack"), which also names the folder of its anomaly map. `part_kind` says what the whole part
    is, where that is known: a defect need not show in every view.
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
        """(H, W, 3) uint8 RGB, decoded at every call."""
        return read_image(self.image_path)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, from the file's header."""
        return image_size(self.image_path)

    def ground_truth(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool: the union of all its defects.

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
    """One class of a dataset, in any layout: its samples by split, in the order of their files."""

    name: str
    path: Path
    layout: Layout
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def __iter__(self) -> Iterator[Sample]:
        """Every sample: train, validation, test."""
        yield from (*self.train, *self.validation, *self.test)

    def __len__(self) -> int:
        """Number of samples over all splits."""
        return len(self.train) + len(self.validation) + len(self.test)

    def torch(
        self, transform: "Transform | None" = None, *, split: Split = "train"
    ) -> "SampleDataset":
        """One split as a `torch.utils.data.Dataset`; see `SampleDataset` for its items.

        Args:
            transform: called as `transform(image, masks)`, like torchvision's v2 transforms, so
                that images and masks move together.
            split: which samples.

        Raises:
            MissingExtraError: torch is not installed.
        """
        require("a torch dataset", "bench")
        from loco_tools.datasets.torch_dataset import SampleDataset

        return SampleDataset(self.split(split), transform)

    def to_hf(self) -> "DatasetDict":
        """The class as a `datasets.DatasetDict`; see `hugging_face.features` for its columns.

        Raises:
            MissingExtraError: Hugging Face's `datasets` is not installed.
        """
        require("a Hugging Face dataset", "hub")
        from loco_tools.datasets.hugging_face import dataset_dict

        return dataset_dict(self)

    def describe(self) -> str:
        """One line that says what was understood: layout, counts per split and kind, masks."""
        kinds: dict[str, int] = {}
        for sample in self.test:
            kinds[sample.kind_folder] = kinds.get(sample.kind_folder, 0) + 1
        test = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
        masks = sum(len(sample.defects) for sample in self)
        return (
            f"{self.name} ({self.layout}): train {len(self.train)}, "
            f"validation {len(self.validation)}, test {test}; {masks} masks"
        )


class Images(Sequence[Pixels]):
    """The images of samples as a lazy sequence of (H, W, 3) uint8 RGB; what detectors take."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        return self._samples[index].image()

    def __iter__(self) -> Iterator[Pixels]:
        """Every image in order, decoded ahead on several threads."""
        for read in read_ahead(self._samples, with_masks=False):
            yield read.image

    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of every image, from the headers."""
        return [sample.size for sample in self._samples]

    def part(self, numbers: Iterable[int]) -> "Images":
        """Some of them."""
        return Images([self._samples[number] for number in numbers])


def every_nth(count: int, most: int) -> range:
    """Evenly spread ones of `count` things: about `most` of them, fewer than twice as many.

    >>> list(every_nth(7, 2))
    [0, 3, 6]
    """
    return range(0, count, max(1, count // most))


def spread(images: Sequence[Pixels], most: int) -> Sequence[Pixels]:
    """Those of the images that `every_nth` takes; `Images` where they are."""
    numbers = every_nth(len(images), most)
    if len(numbers) == len(images):
        return images
    if isinstance(images, Images):
        return images.part(numbers)
    return [images[number] for number in numbers]
