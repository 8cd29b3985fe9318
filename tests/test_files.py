import errno
import os
from pathlib import Path

import pytest

from loco_tools import files


def test_a_failed_write_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record.json"
    files.write_text(target, "old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(target, "new")

    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_file_is_replaced_only_when_its_block_ends_without_an_error(tmp_path: Path) -> None:
    target = tmp_path / "new" / "export.json"
    with files.file_swapped_in(target) as stream:
        stream.writelines([b"one ", b"whole"])
        assert not target.exists()
    assert target.read_bytes() == b"one whole"

    with pytest.raises(KeyboardInterrupt), files.file_swapped_in(target) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"one whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_complete_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "angle"
    target.mkdir()
    (target / "stale").touch()

    with files.folder_swapped_in(target) as fresh:
        (fresh / "new").touch()
        assert (target / "stale").exists()

    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["angle"]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_keeps_the_old_folder(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    target = tmp_path / "angle"
    target.mkdir()
    (target / "old").touch()

    with pytest.raises(fault), files.folder_swapped_in(target) as fresh:
        (fresh / "new").touch()
        raise fault

    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["angle"]


def test_json_with_nan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "metrics.json", {"auroc": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_link_replaces_a_copy(tmp_path: Path) -> None:
    original, copy = tmp_path / "one", tmp_path / "other"
    original.write_text("same")
    copy.write_text("same")
    files.link_in_place(original, copy)
    assert copy.samefile(original)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_without_links_keeps_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copy = tmp_path / "one", tmp_path / "other"
    original.write_text("same")
    copy.write_text("same")

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(files.os, "link", refused)
    files.link_in_place(original, copy)
    assert not copy.samefile(original)
    assert copy.read_text() == "same"
    assert len(list(tmp_path.iterdir())) == 2


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbftext")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path, found in [
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path / "folder", "a folder"),
        (Path(os.devnull), "a device"),
    ]:
        for read in (files.read_bytes, files.read_text, files.sha256_of):
            with pytest.raises(OSError, match=f"it is {found}, expected a file"):
                read(path)
    assert files.read_text(tmp_path / "file") == files.read_text(tmp_path / "link") == "text"
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "missing")
