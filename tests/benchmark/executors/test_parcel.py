from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loco_tools.benchmark.executors.parcel import pack, unpack
from loco_tools.errors import BenchmarkError


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@given(
    files=some.dictionaries(
        some.text("ab/ü", min_size=1, max_size=5).filter(
            lambda n: n.strip("/") == n and "//" not in n
        ),
        some.binary(max_size=3000),
        max_size=4,
    ),
    part_bytes=some.integers(1, 5000),
)
def test_a_folder_comes_out_as_it_went_in_whatever_the_size_of_its_parts(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], part_bytes: int
) -> None:
    source = tmp_path_factory.mktemp("source")
    for name, content in files.items():
        path = source / f"{name}.bin"  # no file is another one's folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (source / "empty").mkdir()
    parts = list(pack({"inside": source}, part_bytes))
    assert all(len(part) == part_bytes for part in parts[:-1])
    arrived = tmp_path_factory.mktemp("arrived")
    unpack(iter(parts), arrived)
    assert contents(arrived / "inside") == contents(source)


def test_a_file_may_lie_beside_a_folder_and_what_does_not_exist_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "a").write_text("a")
    (tmp_path / "plate.jsonl").write_text("{}")
    names = ("plate", "plate.jsonl", "absent")
    unpack(pack({name: tmp_path / name for name in names}), tmp_path / "there")
    assert sorted(contents(tmp_path / "there")) == ["plate", "plate.jsonl", "plate/a"]


def test_damaged_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="damaged archive"):
        unpack([b"no archive at all" * 100], tmp_path / "there")
