import pytest

import loco_tools
from loco_tools.errors import DatasetError
from loco_tools.evaluation import evaluate_maps
from loco_tools.evaluation.parts import ImageOrigin, group_into_parts, part_metrics, part_notes

PLACES = {"good": "good", "logical": "logical_anomalies", "structural": "structural_anomalies"}


def images_of(*images) -> tuple[dict[str, ImageOrigin], dict[str, float]]:
    """Origins and scores of images given as (part, view, kind, score[, part kind])."""
    origins, scores = {}, {}
    for number, (part, view, kind, score, *part_kind) in enumerate(images):
        key = f"{PLACES[kind]}/{number:03d}"
        origins[key] = ImageOrigin(part, view, kind, PLACES[kind], *part_kind)
        scores[key] = score
    return origins, scores


def test_the_score_of_a_part_is_the_maximum_over_its_views():
    parts = group_into_parts(
        *images_of(
            ("a", "top", "good", 1),
            ("a", "side", "good", 2),
            ("b", "top", "structural", 3),
            ("b", "side", "good", 0),
            ("c", "top", "good", 0),
            ("c", "side", "logical", 1.5),
        )
    )
    assert [(part.name, part.kind, part.score) for part in parts.complete] == [
        ("a", "good", 2),
        ("b", "structural", 3),
        ("c", "logical", 1.5),
    ]
    metrics = part_metrics(parts)
    assert metrics["auroc"] == {"logical": 0.0, "structural": 1.0, "mean_ls": 0.5, "pooled": 0.5}
    assert metrics["count"] == {"good": 1, "structural": 1, "logical": 1}


def test_a_part_is_anomalous_when_its_record_says_so_though_no_image_shows_it():
    parts = group_into_parts(
        *images_of(("a", "top", "good", 1, "logical"), ("b", "top", "good", 0, "good"))
    )
    assert [part.kind for part in parts.complete] == ["logical", "good"]


def test_a_part_is_anomalous_when_an_image_is_though_its_record_says_good():
    parts = group_into_parts(*images_of(("a", "top", "structural", 1, "good")))
    assert [part.kind for part in parts.complete] == ["structural"]


def test_parts_with_missing_views_are_left_out_and_named():
    parts = group_into_parts(
        *images_of(("a", "top", "good", 1), ("a", "side", "good", 1), ("b", "top", "logical", 2))
    )
    assert part_metrics(parts)["left_out"] == ["b"]
    assert part_metrics(parts)["auroc"]["pooled"] is None
    assert part_notes(parts) == [
        "part b was left out of the part metrics: no image of view side",
    ]


def test_images_without_a_part_are_mentioned():
    parts = group_into_parts(*images_of(("a", "top", "good", 1), (None, None, "good", 1)))
    assert part_notes(parts) == ["images that belong to no known part (1): good/001"]


def test_without_parts_there_are_no_part_metrics(make_loco_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    assert metrics["parts"] is None


def test_the_sidecar_of_a_class_makes_its_parts(make_loco_class, noisy_map, write_sidecar):
    class_dir = make_loco_class(good=3, logical=((255,),), structural=((100,),))
    write_sidecar(
        class_dir,
        {
            "test/good/000.png": {"part": "a", "view": "top", "part_kind": "good"},
            "test/good/001.png": {"part": "a", "view": "side", "part_kind": "good"},
            "test/good/002.png": {"part": "b", "view": "top", "part_kind": "logical"},
            "test/logical_anomalies/000.png": {"part": "b", "view": "side"},
            "test/structural_anomalies/000.png": {"part": "c", "view": "side"},
        },
    )
    evaluation = evaluate_maps(loco_tools.load(class_dir).test, noisy_map)
    metrics = evaluation.metrics["parts"]
    assert metrics["views"] == ["side", "top"]
    assert metrics["count"] == {"good": 1, "structural": 0, "logical": 1}
    assert metrics["left_out"] == ["c"]
    assert any("part c was left out" in note for note in evaluation.metrics["notes"])


def test_a_sidecar_with_an_unknown_kind_of_part_is_refused(make_loco_class, write_sidecar):
    class_dir = make_loco_class()
    write_sidecar(class_dir, {"test/good/000.png": {"part": "a", "part_kind": "bad"}})
    with pytest.raises(DatasetError, match=r'line 1: expected "part_kind" to be good, .*"?bad'):
        loco_tools.load(class_dir)
