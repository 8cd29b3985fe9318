"""Bagging: a detector fitted several times, each time on a resampled training set."""

from collections.abc import Iterator, Sequence

import numpy as np

from loco_tools.datasets.images import Pixels
from loco_tools.errors import MethodError
from loco_tools.methods.detector import Detector, SingleDetector
from loco_tools.progress import Progress

_APART = 1009
"""Keeps the seeds of different bags apart."""


class Resampled(Sequence[Pixels]):
    """As many images, drawn with replacement (a bootstrap sample); decoded when they are asked for.

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
    """The member, when it can be made anew; otherwise a MethodError."""
    if not isinstance(member, SingleDetector):
        raise MethodError(
            f"bags: expected members that look at images themselves, got {name}, "
            f"a {member.name}; next step: name its members instead"
        )
    return member


def refitted(
    member: SingleDetector,
    train: Sequence[Pixels],
    validation: Sequence[Pixels],
    *,
    bags: int,
    seed: int,
    progress: Progress,
) -> list[SingleDetector]:
    """Detectors with the member's configuration and backbone, each fitted on its own resample."""
    found = []
    for bag in range(bags):
        backbone = member.backbone if member.needs_backbone else None
        one = type(member)(member.config, backbone, device=str(member.device))
        of_bag = seed + _APART * (bag + 1)
        one.fit(Resampled(train, seed=of_bag), validation, seed=of_bag, progress=progress)
        found.append(one)
    return found
