import json
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import group_number, make_region, make_task, write_export

from loco_tools.annotations.formats import read_export
from loco_tools.annotations.grouping import Group, group_regions, linked_groups


def relation(one: str, other: str) -> dict[str, Any]:
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right"}


def labelled(name: str, label: str, **more: Any) -> dict[str, Any]:
    value = {"x": 0, "y": 0, "width": 9, "height": 9, "rectanglelabels": [label]}
    return make_region(id=name, value=value, **more)


def groups_of(tmp_path: Path, rule: Group, *result: Any) -> list[str]:
    export = read_export(write_export(tmp_path / "export.json", make_task(*result)))
    (annotation,) = export.tasks[0].annotations
    regions = annotation.regions
    return [
        "".join(str(regions[place].id) for place in places)
        for places in group_regions(regions, annotation.relations, rule)
    ]


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        ("auto", ["ab", "cde", "x"]),
        ("number", ["ab", "c", "d", "e", "x"]),
        ("relation", ["a", "b", "cde", "x"]),
        ("label", ["abcde", "x"]),
        ("region", ["a", "b", "c", "d", "e", "x"]),
    ],
)
def test_each_rule_makes_its_own_instances(tmp_path: Path, rule: Group, groups: list[str]) -> None:
    instances = groups_of(
        tmp_path,
        rule,
        *(labelled(name, "dent") for name in "abcd"),
        labelled("e", "dent", parentID="d"),
        labelled("x", "scratch"),
        group_number("a", 1),
        group_number("b", 1),
        group_number("x", 1),
        relation("d", "c"),
        relation("a", "x"),
        relation("a", "gone"),
    )
    assert instances == groups


def test_groups_come_in_the_order_of_their_first_members() -> None:
    assert linked_groups(5, [(4, 2), (2, 1)]) == [[0], [1, 2, 4], [3]]
    assert linked_groups(0, []) == []


def test_a_long_chain_is_one_group() -> None:
    count = 50_000
    assert linked_groups(count, [(n, n + 1) for n in range(count - 1)]) == [list(range(count))]


def test_relations_of_the_wrong_form_tie_nothing(tmp_path: Path) -> None:
    broken = [{"type": "relation", "from_id": [1], "to_id": None}, {"type": "relation"}]
    groups = groups_of(tmp_path, "auto", labelled("a", "dent"), labelled("b", "dent"), *broken)
    assert groups == ["a", "b"]
    assert json.loads((tmp_path / "export.json").read_text())
