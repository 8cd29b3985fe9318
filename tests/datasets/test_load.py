import os
import subprocess
import sys
from pathlib import Path

import pytest

import loco_tools
from loco_tools import datasets
from loco_tools.datasets import find_classes
from loco_tools.errors import DatasetError

DATA = os.environ.get("LOCO_TOOLS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LOCO_TOOLS_TEST_DATA is not set")


def test_a_folder_of_classes_is_searched_in_natural_order(make_ad_class, make_loco_class, tmp_path):
    for name in ("part10", "part9", ".hidden"):
        make_ad_class(name)
    make_loco_class("angle")
    (tmp_path / "data" / "notes").mkdir()
    assert [path.name for path in find_classes(tmp_path / "data")] == ["angle", "part9", "part10"]


def test_a_class_folder_contains_only_itself_as_a_class(make_ad_class):
    folder = make_ad_class()
    assert find_classes(folder) == [folder]


def test_the_current_folder_can_be_loaded_as_a_class(make_ad_class, monkeypatch):
    monkeypatch.chdir(make_ad_class())
    assert loco_tools.load(".").name == "bottle"


def test_a_folder_without_classes_is_an_error_that_lists_its_contents(tmp_path):
    (tmp_path / "pictures").mkdir()
    for read in (find_classes, datasets.load, loco_tools.load):
        with pytest.raises(DatasetError, match=r"expected a class in .*train/good.* pictures$"):
            read(tmp_path)


def test_a_folder_of_classes_is_not_a_class(make_ad_class):
    root = make_ad_class().parent
    make_ad_class("cable")
    with pytest.raises(DatasetError, match=r"name one of its classes: \S+/bottle, \S+/cable$"):
        datasets.load(root)


def test_a_folder_of_classes_loads_as_a_dictionary_by_name(make_ad_class, make_loco_class):
    root = make_ad_class("part10").parent
    make_loco_class("part9")
    classes = loco_tools.load(root)
    assert list(classes) == ["part9", "part10"]
    assert [classes[name].layout for name in classes] == ["mvtec_loco", "mvtec_ad"]


def test_a_missing_folder_and_a_file_have_different_messages(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match=r"absent: expected the folder .* got no such folder"):
        loco_tools.load(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"file: expected the folder .* got a file"):
        find_classes(tmp_path / "file")


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, loco_tools; loco_tools.load; loco_tools.evaluate; "
        "print([m for m in ('torch', 'mitsuba', 'skimage', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = loco_tools.laod


@needs_data
def test_real_photographs_with_short_mask_names_and_odd_sizes_load():
    dataset = loco_tools.load(Path(DATA) / "hazelnut_toy")
    assert dataset.describe() == (
        "hazelnut_toy (mvtec_ad): train 28, validation 0, test 6 good, 17 colour; 17 masks"
    )
    assert {sample.size for sample in dataset} == {(512, 512), (522, 512)}


@needs_data
def test_grayscale_photographs_of_many_sizes_load():
    dataset = loco_tools.load(Path(DATA) / "magnetic_tile" / "tile")
    assert (len(dataset.train), len(dataset.test)) == (150, 150)
    assert dataset.train[0].image().shape[2] == 3
