import json
import os
from pathlib import Path

import pytest

from loco_tools.benchmark.cell.hashes import code_hash
from loco_tools.datasets.data_hash import data_hash


def folder(tmp_path: Path) -> Path:
    made = tmp_path / "plate"
    (made / "test").mkdir(parents=True)
    (made / "test" / "000.png").write_bytes(b"one")
    (made / "test" / "001.png").write_bytes(b"two")
    return made


def test_the_same_files_have_the_same_hash_wherever_they_are(tmp_path: Path) -> None:
    assert data_hash(folder(tmp_path / "a")) == data_hash(folder(tmp_path / "b"))


def test_contents_names_and_new_files_change_the_hash(tmp_path: Path) -> None:
    path = folder(tmp_path)
    hashes = {data_hash(path)}
    (path / "test" / "000.png").write_bytes(b"ONE")
    hashes.add(data_hash(path))
    (path / "test" / "000.png").rename(path / "test" / "002.png")
    hashes.add(data_hash(path))
    (path / "test" / "003.png").write_bytes(b"")
    hashes.add(data_hash(path))
    assert len(hashes) == 4


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    path = folder(tmp_path)
    before = data_hash(path)
    (path / ".DS_Store").write_bytes(b"x")
    assert data_hash(path) == before


def test_the_cache_spares_reading_files_again_but_never_changes_the_hash(tmp_path: Path) -> None:
    path, cache = folder(tmp_path), tmp_path / "hashes.json"
    first = data_hash(path, cache)
    known = json.loads(cache.read_text())
    image = path / "test" / "000.png"
    stamp = image.stat()
    image.write_bytes(b"ONE")
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert data_hash(path, cache) == first, "same size and time: taken from the cache"
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert data_hash(path, cache) == data_hash(path) != first
    assert json.loads(cache.read_text()) != known


def test_a_damaged_cache_counts_as_none(tmp_path: Path) -> None:
    path, cache = folder(tmp_path), tmp_path / "hashes.json"
    cache.write_text("{")
    assert data_hash(path, cache) == data_hash(path)


def test_code_counts_with_what_it_imports_inside_its_package_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "kennel_of_code"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("import json\nfrom kennel_of_code import inner\n")
    (package / "inner.py").write_text("x = 1\n")
    (package / "unused.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def current() -> str:
        return code_hash(["kennel_of_code.method"], ["kennel_of_code"])

    first = current()
    (package / "unused.py").write_text("y = 2\n")
    assert current() == first
    (package / "inner.py").write_text("x = 2\n")
    assert current() != first
