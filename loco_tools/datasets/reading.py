"""Reading ahead: samples are decoded on several threads while earlier ones are in use."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from loco_tools.datasets.images import Pixels
from loco_tools.datasets.sample import Sample

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReadSample(NamedTuple):
    """A sample with its pixels.

    Attributes:
        sample: the sample.
        image: (H, W, 3) uint8 RGB.
        masks: one (H, W) uint8 per defect with the pixel values of its file, in the order of
            `sample.defects`.
    """

    sample: Sample
    image: Pixels
    masks: tuple[Pixels, ...]


def read_ahead(
    samples: Iterable[Sample], *, threads: int | None = None, with_masks: bool = True
) -> Iterator[ReadSample]:
    """The samples in order with their pixels, decoded on several threads.

    At most `threads` + 2 decoded samples wait to be consumed, so memory use is bounded however
    slow the consumer is. Leaving the loop early stops the threads.

    Args:
        samples: consumed one by one as reading goes on.
        threads: number of threads; by default the number of cores this process may use.
        with_masks: whether masks are decoded; otherwise `masks` is empty.

    Raises:
        DatasetError: a file is missing or damaged; raised after all earlier samples.
    """

    def read(sample: Sample) -> ReadSample:
        masks = tuple(d.values() for d in sample.defects) if with_masks else ()
        return ReadSample(sample, sample.image(), masks)

    return in_order(read, samples, threads=threads)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """`map` on several threads, with results in order, at most `threads` + 2 ahead of the consumer.

    An error in `work` is raised when its item is reached; no further item is started then.
    """
    threads = threads or available_cores()
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
    try:
        pending.extend(pool.submit(work, item) for item in islice(source, threads + 2))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Images(Sequence[Pixels]):
    """The images of samples as a lazy sequence of (H, W, 3) uint8 RGB, the input of detectors.

    The arrays are read-only: a detector that changed them would change what others get.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        image = self._samples[index].image()
        image.setflags(write=False)
        return image

    def __iter__(self) -> Iterator[Pixels]:
        """Every image in order, decoded ahead on several threads."""
        for read in read_ahead(self._samples, with_masks=False):
            read.image.setflags(write=False)
            yield read.image

    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of every image, read from the headers."""
        return [sample.size for sample in self._samples]

    def subset(self, indices: Iterable[int]) -> "Images":
        """The images at the given indices."""
        return Images([self._samples[index] for index in indices])


def every_nth(count: int, most: int) -> range:
    """Evenly spaced indices into `count` items: about `most` of them, fewer than twice as many.

    >>> list(every_nth(7, 2))
    [0, 3, 6]
    """
    return range(0, count, max(1, count // most))


def evenly_spaced(images: Sequence[Pixels], most: int) -> Sequence[Pixels]:
    """The images at the indices of `every_nth`; lazy `Images` stay lazy."""
    indices = every_nth(len(images), most)
    if len(indices) == len(images):
        return images
    if isinstance(images, Images):
        return images.subset(indices)
    return [images[index] for index in indices]
