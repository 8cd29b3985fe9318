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


def test_a_write_takes_over_what_a_killed_one_left_and_lets_a_live_one_be(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    (tmp_path / ".record.json.tmp").write_bytes(b"half of a longer file")
    files.write_text(target, "new")
    assert target.read_text() == "new"
    with files.file_swapped_in(target) as stream:
        stream.write(b"slow")
        files.write_text(target, "fast")
        assert target.read_text() == "fast"
    assert target.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_over_what_a_killed_one_left_and_lets_a_live_one_be(tmp_path: Path) -> None:
    target = tmp_path / "angle"
    (tmp_path / ".angle.new" / "new" / "angle").mkdir(parents=True)
    (tmp_path / ".angle.new" / "new" / "angle" / "half").touch()
    with files.folder_swapped_in(target) as slow:
        (slow / "slow").touch()
        with files.folder_swapped_in(target) as fast:
            (fast / "fast").touch()
        assert [path.name for path in target.iterdir()] == ["fast"]
    assert [path.name for path in target.iterdir()] == ["slow"]
    assert list(tmp_path.iterdir()) == [target]


def state_of(folder: Path) -> dict[str, str]:
    """The visible files and what they hold; everything hidden counts as one key."""
    found = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".angle" not in path.as_posix()
    }
    return found | {path.name: "" for path in folder.glob(".*")}


def replace_all(folder: Path, content: str) -> None:
    targets = folder / "angle", folder / "angle.jsonl", folder / "angle.html"
    with files.swapped_in(*targets) as (fresh, lines, page):
        files.write_text(fresh / "test" / "image", content)
        files.write_text(lines, content)
        files.write_text(page, content)


@pytest.mark.parametrize("first", [False, True])
def test_folders_and_files_are_replaced_together_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    if not first:
        replace_all(tmp_path, "old")
    before = state_of(tmp_path)
    fails_at, real = 0, os.replace

    def fail(source: Path, target: Path) -> None:
        nonlocal fails_at
        fails_at -= 1
        if fails_at == 0:
            raise OSError(errno.EIO, "the disk is gone")
        real(source, target)

    monkeypatch.setattr(Path, "replace", fail)
    for number in range(1, 7):  # three files, then the three moves
        fails_at = number
        with pytest.raises(OSError, match="the disk is gone"):
            replace_all(tmp_path, "new")
        assert state_of(tmp_path) == before, number
    replace_all(tmp_path, "new")
    assert state_of(tmp_path) == dict.fromkeys(
        ("angle/test/image", "angle.jsonl", "angle.html"), "new"
    )


def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path: Path) -> None:
    (tmp_path / "angle.jsonl" / "mine").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="expected a file to replace, got a folder"):
        replace_all(tmp_path, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["angle.jsonl"]
    (tmp_path / "angle").write_text("mine")
    with pytest.raises(NotADirectoryError, match="expected a folder to replace, got a file"):
        replace_all(tmp_path, "new")
    assert (tmp_path / "angle").read_text() == "mine"


def test_whoever_opens_a_target_finishes_the_commit_of_a_killed_process(tmp_path: Path) -> None:
    def commit_of(names: dict[str, str]) -> None:
        for name, content in names.items():
            files.write_text(tmp_path / ".angle.commit" / name, content)
        (tmp_path / ".angle.commit" / "old").mkdir(exist_ok=True)
        (tmp_path / ".angle.commit" / "new").mkdir(exist_ok=True)

    new = {"new/angle/image": "new", "new/angle.jsonl": "new"}
    done = {"angle/image": "new", "angle.jsonl": "new"}
    commit_of(new)  # nothing moved, nothing there before
    files.settle(tmp_path / "angle")
    assert state_of(tmp_path) == done
    files.write_text(tmp_path / "angle" / "image", "older")
    commit_of(new)  # nothing moved
    files.settle_all(tmp_path)
    assert state_of(tmp_path) == done
    (tmp_path / "angle.jsonl").write_text("older")
    commit_of({"old/angle/image": "older", "new/angle.jsonl": "new"})  # the folder is in its place
    files.remove_leftovers(tmp_path / "angle")
    assert state_of(tmp_path) == done
    commit_of({"old/angle/image": "older", "old/angle.jsonl": "older"})  # everything is
    files.settle(tmp_path / "angle")
    assert state_of(tmp_path) == done
