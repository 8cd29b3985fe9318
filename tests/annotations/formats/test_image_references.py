import hashlib
from pathlib import Path

import pytest

from loco_tools.annotations.formats.image_references import (
    ImageFiles,
    check_trusted,
    embedded_sha256,
    names_of,
    parse_storages,
    refusal,
    stored_file,
)
from loco_tools.errors import AnnotationError


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("/data/upload/1/0a1b2c3d-p0003-top.png", ("0a1b2c3d-p0003-top.png", "p0003-top.png")),
        ("/data/local-files/?d=some/folder/a%20b.png", ("a b.png", "a%20b.png")),
        ("/data/local-files/?d=set/part+01.png", ("part+01.png", "part 01.png")),
        ("/data/local-files/?d=set/p#3.png", ("p", "p#3.png")),
        ("/data/local-files/?d=set/p&3.png", ("p", "p&3.png")),
        ("s3://bucket/50%25.png", ("50%.png", "50%25.png")),
        ("/tasks/1/presign/?fileuri=czM6Ly9iL3gvcDExLmpwZw==", ("p11.jpg",)),
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
    image_files = ImageFiles(tmp_path.rglob("*"))
    assert image_files.find("/data/upload/3/01234567-a.png") == tmp_path / "a.png"
    assert image_files.find("/data/upload/3/01234567-b.png") is None


def test_two_files_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    with pytest.raises(AnnotationError, match=r"one/a\.png or .*two/a\.png"):
        ImageFiles(tmp_path.rglob("*")).find("a.png")


def test_a_prefix_that_may_belong_to_the_name_is_an_error_when_both_files_are_there(
    tmp_path: Path,
) -> None:
    for name in ("a.png", "01234567-a.png"):
        (tmp_path / name).touch()
    with pytest.raises(AnnotationError, match=r"could be .*01234567-a\.png or .*/a\.png"):
        ImageFiles(tmp_path.rglob("*")).find("/data/upload/1/01234567-a.png")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("/data/upload/1/0a1b2c3d-a.png", None),
        ("/data/local-files/?d=some/a.png", None),
        ("a.png", None),
        ("photos/a.png", None),
        ("data:image/png;base64,AAAA", None),
        ("https://host/a.png", "is a URL, and nothing is downloaded"),
        ("s3://bucket/a.png", "is a URL, and nothing is downloaded"),
        ("file:///etc/a.png", "is a URL, and nothing is downloaded"),
        ("/etc/a.png", "is an absolute path"),
        ("C:\\a.png", "is an absolute path"),
        ("\\\\server\\a.png", "is an absolute path"),
        ("/data/local-files/?d=/etc/a.png", "is an absolute path"),
        ("../a.png", "leaves its folder"),
        ("photos\\..\\..\\a.png", "leaves its folder"),
        ("/data/upload/1/%2e%2e/a.png", "leaves its folder"),
        ("/data/local-files/?d=..%2fa.png", "leaves its folder"),
    ],
)
def test_references_that_lead_elsewhere_are_refused(reference: str, reason: str | None) -> None:
    assert refusal(reference) == reason


def test_a_refusal_names_the_reference_and_the_way_out() -> None:
    with pytest.raises(
        AnnotationError, match=r"image https://h/a\.png: refused, it is a URL.*--storage PREFIX=DIR"
    ):
        check_trusted("https://h/a.png")


def test_the_name_in_a_url_is_searched_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(AnnotationError, match="is a URL"):
        ImageFiles([tmp_path / "a.png"]).find("https://host/a.png")
    assert ImageFiles([tmp_path / "a.png"], urls=True).find("https://host/a.png")


def test_a_storage_stands_for_the_beginning_of_references(tmp_path: Path) -> None:
    storage = tmp_path / "mounted"
    (storage / "deep er").mkdir(parents=True)
    image = storage / "deep er" / "a.png"
    image.touch()
    for prefix, reference in (
        ("s3://parts/", "s3://parts/deep%20er/a.png?token=1"),
        ("/data/local-files/?d=", "/data/local-files/?d=deep%20er/a.png"),
        ("/data/local-files/?d", "/data/local-files/?d=deep%20er/a.png"),
        ("/mnt/photos", "/mnt/photos/deep er/a.png"),
        ("C:\\photos", "C:\\photos\\deep er\\a.png"),
    ):
        assert stored_file(reference, {prefix: storage}) == image
        assert ImageFiles([], storages={prefix: storage}).find(reference) == image
    assert stored_file("s3://other/a.png", {"s3://parts/": storage}) is None
    nearer = {"s3://parts/": tmp_path, "s3://parts/deep%20er/": storage / "deep er"}
    assert stored_file("s3://parts/deep%20er/a.png", nearer) == image


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("../secret.png", r"secret\.png: refused, it leaves .*mounted"),
        ("%2e%2e/secret.png", "refused, it leaves"),
        ("link.png", "refused, it leaves"),
        ("none.png", "found no such file; next step: correct --storage"),
        ("a\0b.png", "found no such file"),
        ("x" * 5000, "x{50}.*found no such file"),
    ],
)
def test_what_a_storage_does_not_hold_is_refused(tmp_path: Path, rest: str, message: str) -> None:
    storage = tmp_path / "mounted"
    storage.mkdir()
    (tmp_path / "secret.png").touch()
    (storage / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(AnnotationError, match=message):
        stored_file(f"s3://parts/{rest}", {"s3://parts/": storage})


def test_an_image_inside_of_its_reference_is_identified_by_its_content() -> None:
    assert embedded_sha256("data:image/png;base64,AAAA") == hashlib.sha256(b"\0\0\0").hexdigest()
    for reference in ("a.png", "data:image/png,AAAA", "data:image/png;base64,*"):
        assert embedded_sha256(reference) is None


def test_storages_are_given_as_prefix_and_folder(tmp_path: Path) -> None:
    given = [f"s3://parts/={tmp_path}", f"/data/local-files/?d={tmp_path}"]
    assert parse_storages(given) == {"s3://parts/": tmp_path, "/data/local-files/?d": tmp_path}
    for wrong, message in (
        ("s3://parts/", "expected PREFIX=DIR"),
        ("=photos", "expected PREFIX=DIR"),
        ("s3://parts/=/none/such", "expected the folder /none/such, found none"),
    ):
        with pytest.raises(AnnotationError, match=message):
            parse_storages([wrong])
