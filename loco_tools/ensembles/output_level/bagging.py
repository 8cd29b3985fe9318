"""Bagging: a detector fitted several times, each time on a resampled training set."""

from collections.abc import Iterator, Sequence

import numpy as np

from loco_tools.datasets.images import Pixels
from loco_tools.errors import MethodError
from loco_tools.methods.detector import Detector, SingleDetector
from loco_tools.progress import Progress

_SEED_STEP = 1009
"""Step between the seeds of bags."""


class Resampled(Sequence[Pixels]):
    """A bootstrap sample: as many images, drawn with replacement and decoded on access.

    >>> sorted(set(Resampled(["a"], seed=0)))
    ['a']
    """

    def __init__(self, images: Sequence[Pixels], *, seed: int) -> None:
        self._images = images
        drawn = np.random.default_rng(seed).integers(len(images), size=len(images))
        self.drawn: list[int] = drawn.tolist()

    def __len__(self) -> int:
        return len(self.drawn)

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        image: Pixels = self._images[self.drawn[index]]
        return image

    def __iter__(self) -> Iterator[Pixels]:
        return (self._images[index] for index in self.drawn)


def check_can_be_refitted(name: str, member: Detector) -> SingleDetector:
    """The member when it can be fitted again on other images; otherwise a MethodError."""
    if not isinstance(member, SingleDetector):
        raise MethodError(
            f"bags: expected members that are single detectors, got {name}, "
            f"an ensemble ({member.name}); next step: name its members instead"
        )
    return member


def refit(
    member: SingleDetector,
    train: Sequence[Pixels],
    validation: Sequence[Pixels],
    *,
    bags: int,
    seed: int,
    progress: Progress,
) -> list[Detector]:
    """Detectors with the member's configuration and backbone, each fitted to its own resample."""
    detectors: list[Detector] = []
    for bag in range(bags):
        backbone = member.backbone if member.needs_backbone else None
        detector = type(member)(member.config, backbone, device=str(member.device))
        bag_seed = seed + _SEED_STEP * (bag + 1)
        resampled = Resampled(train, seed=bag_seed)
        detectors.append(detector.fit(resampled, validation, seed=bag_seed, progress=progress))
    return detectors
