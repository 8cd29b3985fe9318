from pathlib import Path

import pytest

from loco_tools.annotations.references import ImageFiles, names_of
from loco_tools.errors import AnnotationError


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("/data/upload/1/0a1b2c3d-p0003-top.png", ("0a1b2c3d-p0003-top.png", "p0003-top.png")),
        ("/data/local-files/?d=some/folder/a%20b.png", ("a b.png",)),
        ("s3://bucket/folder/a.png", ("a.png",)),
        ("https://host/a.jpg?token=1#x", ("a.jpg",)),
        ("C:\\photos\\a.png", ("a.png",)),
        ("../../etc/passwd", ("passwd",)),
        ("/data/local-files/?d=../..", ()),
        ("data:image/png;base64,AAAA", ()),
        ("http://[bad", ()),
        ("", ()),
    ],
)
def test_a_reference_stands_for_the_last_part_of_its_path(
    reference: str, names: tuple[str, ...]
) -> None:
    assert names_of(reference) == names


def test_a_file_is_found_without_label_studios_prefix(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    found = ImageFiles(tmp_path.rglob("*"))
    assert found.find("/data/upload/3/01234567-a.png") == tmp_path / "a.png"
    assert found.find("/data/upload/3/01234567-b.png") is None


def test_two_files_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    with pytest.raises(AnnotationError, match=r"one/a\.png or .*two/a\.png"):
        ImageFiles(tmp_path.rglob("*")).find("a.png")
