"""From regions to defect instances: which of the regions of one image are one defect."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal

from loco_tools.annotations.formats.regions import Region

Group = Literal["auto", "number", "relation", "label", "region"]
"""What makes regions with one label one defect instance.

auto: the same group number, or a relation (or Label Studio's own grouping) between them.
number: the same group number only.
relation: a relation, or a region put under another one in Label Studio's list; chains count.
label: nothing more: all regions with one label are one instance.
region: nothing: each region is an instance by itself.
"""


def grouped(
    regions: Sequence[Region], relations: Iterable[tuple[str, str]], rule: Group
) -> list[list[int]]:
    """The places of the regions of each instance, in the order of their first regions.

    Regions with different labels are never one instance.
    """
    links: list[tuple[int, int]] = []
    if rule in {"auto", "number"}:
        links += _alike(regions, lambda r: None if r.group is None else (r.labels, r.group))
    if rule in {"auto", "relation"}:
        links += _related(regions, relations)
    if rule == "label":
        links += _alike(regions, lambda r: r.labels)
    return joined(len(regions), links)


def joined(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected groups of 0..count-1, each sorted, in the order of their first members.

    >>> joined(4, [(3, 1)])
    [[0], [1, 3], [2]]
    """
    leader = list(range(count))

    def first_of(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for one, other in links:
        low, high = sorted((first_of(one), first_of(other)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(first_of(place), []).append(place)
    return list(groups.values())


def _alike(
    regions: Sequence[Region], key_of: Callable[[Region], Hashable | None]
) -> list[tuple[int, int]]:
    first: dict[Hashable, int] = {}
    keys = [(place, key_of(region)) for place, region in enumerate(regions)]
    return [(first.setdefault(key, place), place) for place, key in keys if key is not None]


def _related(
    regions: Sequence[Region], relations: Iterable[tuple[str, str]]
) -> list[tuple[int, int]]:
    places = {region.id: place for place, region in enumerate(regions) if region.id is not None}
    pairs = [*relations, *((r.parent, r.id) for r in regions if r.parent and r.id)]
    ends = [(places[one], places[other]) for one, other in pairs if {one, other} <= places.keys()]
    return [(one, other) for one, other in ends if regions[one].labels == regions[other].labels]
