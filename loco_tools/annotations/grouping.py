"""Group the regions of one image into defect instances."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from loco_tools.annotations.formats.regions import Region

Group = Literal["auto", "number", "relation", "label", "region"]
"""The rule by which regions with one label form one defect instance.

auto: they have the same group number, or a relation (or Label Studio's own grouping) joins them.
number: they have the same group number.
relation: a relation joins them, or one lies under the other in Label Studio's list; chains count.
label: they have the same label, so that each label has one instance.
region: never; each region is an instance of its own.
"""


def group_regions(
    regions: Sequence[Region], relations: Iterable[tuple[str, str]], rule: Group
) -> list[list[int]]:
    """The indices of the regions of each instance, in the order of their first regions.

    Regions with different labels never form one instance.

    Args:
        regions: the regions that one annotator drew on one image.
        relations: pairs of ids of related regions.
        rule: see `Group`.
    """
    links: list[tuple[int, int]] = []
    if rule in {"auto", "number"}:
        links += _link_equal(regions, lambda r: None if r.group is None else (r.labels, r.group))
    if rule in {"auto", "relation"}:
        count = Counter(region.id for region in regions)
        # an id that two regions share does not tell which of them is meant
        index = {region.id: n for n, region in enumerate(regions) if count[region.id] == 1}
        pairs = [*relations, *((r.parent, r.id) for r in regions if r.parent and r.id)]
        related = [(index[a], index[b]) for a, b in pairs if a in index and b in index]
        links += [(a, b) for a, b in related if regions[a].labels == regions[b].labels]
    if rule == "label":
        links += _link_equal(regions, lambda r: r.labels)
    return linked_groups(len(regions), links)


def linked_groups(count: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The connected components of a graph with nodes 0..count-1, in the order of first members.

    >>> linked_groups(4, [(3, 1)])
    [[0], [1, 3], [2]]
    """
    if count == 0:
        return []
    rows, columns = zip(*links, strict=True) if links else ((), ())
    graph = coo_array((np.ones(len(links)), (rows, columns)), shape=(count, count))
    _, components = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for member, component in enumerate(components.tolist()):
        groups.setdefault(component, []).append(member)
    return list(groups.values())


def _link_equal(
    regions: Sequence[Region], key_of: Callable[[Region], Hashable | None]
) -> list[tuple[int, int]]:
    """Link each region to the first one with an equal key; None is equal to nothing."""
    first: dict[Hashable, int] = {}
    keys = [(index, key_of(region)) for index, region in enumerate(regions)]
    return [(first.setdefault(key, index), index) for index, key in keys if key is not None]
