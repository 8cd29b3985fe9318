"""Reading ahead: samples are decoded on several threads while the ones before them are used."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from loco_tools.datasets.images import Pixels

if TYPE_CHECKING:
    from loco_tools.datasets.sample import Sample

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReadSample(NamedTuple):
    """A sample with its pixels.

    `image` is (H, W, 3) uint8 RGB; `masks` has one (H, W) uint8 per defect, in the order of
    `sample.defects`, with the pixel values of the files.
    """

    sample: "Sample"
    image: Pixels
    masks: tuple[Pixels, ...]


def read_ahead(
    samples: Iterable["Sample"], *, threads: int | None = None, with_masks: bool = True
) -> Iterator[ReadSample]:
    """The samples in order with their pixels, decoded on several threads.

    At most `threads` + 2 samples are decoded and not yet taken, so memory stays small however slow
    the taker is. Leaving the loop early stops the threads.

    Args:
        samples: taken one by one, as the look-ahead reaches them.
        threads: how many; by default one per core this process may use.
        with_masks: whether to give the masks; otherwise `masks` is empty.

    Raises:
        DatasetError: a file is missing or damaged; raised when its sample is reached, after all
            before it.
    """

    def read(sample: "Sample") -> ReadSample:
        masks = tuple(d.values() for d in sample.defects) if with_masks else ()
        return ReadSample(sample, sample.image(), masks)

    return in_order(read, samples, threads=threads)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """`map` on several threads: results in order, at most `threads` + 2 ahead of the taker.

    An error of `work` is raised at its item's place; nothing is begun after it.
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
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
