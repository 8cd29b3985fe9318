import tempfile
import warnings
from pathlib import Path
from typing import Any

from class_trees import CONFIGS, CONTENTS, ENTRY, SIDECARS, build, trees
from fuzzing import damaged, fuzz, hostile_json, within_bounds
from hypothesis import strategies as st

from loco_tools.datasets import check, find_classes, load_any
from loco_tools.datasets.data_hash import data_hash
from loco_tools.datasets.show import rows_of
from loco_tools.datasets.summary import summarise
from loco_tools.datasets.validation import validate

AUDIT = {"schema_version": 1, "files": {"train/good/000.png": "0" * 64}}
TEXTS = {
    "defects_config.json": hostile_json([[ENTRY], [ENTRY, {**ENTRY, "pixel_value": 100}]])
    | damaged([text.encode() for text in CONFIGS]),
    "../part.jsonl": hostile_json([{"image": "train/good/000.png", "part": "p1", "view": None}])
    | damaged([text.encode() for text in SIDECARS]),
    "../part.audit.json": hostile_json([AUDIT]),
}


def read_everything(folder: Path) -> None:
    """What load, show, validate and bench do with a class before anything is fitted."""
    with within_bounds():
        findings = validate(folder)
        findings.describe().encode()
        str(findings.as_record()).encode()
    with within_bounds():
        "\n".join(check(folder).brief()).encode()
    with within_bounds():
        data_hash(folder)
    with within_bounds():
        find_classes(folder.parent)
        dataset = load_any(folder)
        summarise(dataset).describe().encode()
        list(rows_of(dataset))


@fuzz(one_in=5, tree=trees(), text=st.sampled_from(sorted(TEXTS)).flatmap(
    lambda name: st.tuples(st.just(name), TEXTS[name])
))  # fmt: skip
def test_texts_of_a_class(tree: dict[str, Any], text: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_everything(build(Path(root), tree | dict([text])))


@fuzz(one_in=5, tree=trees(st.sampled_from(CONTENTS) | damaged(CONTENTS)))
def test_images_and_masks_of_a_class(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_everything(build(Path(root), tree))
