import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.annotations.formats import task_file
from loco_tools.annotations.formats.task_file import entries, is_whole_list
from loco_tools.errors import AnnotationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def file_with(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "export.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_entries_are_those_that_a_json_parser_finds(
    tmp_path: Path, tasks: list[Any], indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(tasks, indent=indent, ensure_ascii=ascii_only)
    content = text.encode("utf-8", "surrogatepass")
    assume_utf8 = content.decode("utf-8", "ignore").encode() == content
    if assume_utf8:
        assert list(entries(file_with(tmp_path, content))) == tasks


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_are_refused_as_a_json_parser_would(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(json.dumps([{"id": 1, "data": {"a": ['x"y', 2.5]}}, [], "end"]).encode())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.sampled_from(b'[]{}",:\\ 7\xffx'))
    cut = data.draw(st.integers(1, len(whole)))
    path = file_with(tmp_path, bytes(whole[:cut]))
    try:
        expected = json.loads(path.read_bytes())
    except ValueError:
        expected = None
    try:
        tasks = list(entries(path))
    except AnnotationError:
        tasks = None
    assert tasks == (expected if isinstance(expected, list) else None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"[1, 2", "got the file's end at byte 5 instead of a comma"),
        (b"[1 2]", "got '2' at byte 3 instead of a comma"),
        (b"[1] x", "got something after the end, at byte 4"),
        (b"[1,]", "in the entry at byte 3"),
        (b'["abc\\', "in the entry at byte 1"),
        ("[1]".encode("utf-16"), "expected a JSON export in UTF-8, got utf-16"),
        (b"[[" * 60 + b"]]" * 60, "nested too deeply; expected at most 100 levels"),
        (b'[{"a":' * 100_000, "nested too deeply"),
        (b"{" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_list_of_entries_is_explained(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(AnnotationError, match=message):
        list(entries(file_with(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        ('[{"id": 1, "data": {}}]', True),
        (" [] ", True),
        ('[{"id": 1, "da', False),
        ('[{"id": 1}', False),
        ('{"id": 1, "data": {}}', False),
        ('{"detail": "Not found."}', False),
        ("<html>Welcome</html>", False),
        ("", False),
    ],
)
def test_only_a_list_with_its_end_is_complete(tmp_path: Path, content: str, whole: bool) -> None:
    assert is_whole_list(file_with(tmp_path, content)) == whole


def test_a_list_beyond_the_bounds_is_no_part_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_file, "MAX_ENTRIES", 3)
    assert is_whole_list(file_with(tmp_path, "[1,2,3,4]"))


def test_brackets_and_quotes_inside_of_texts_are_no_structure(tmp_path: Path) -> None:
    tasks = ["]}{[", 'a\\"b', {"k]": '\\"'}, "\\\\"]
    assert list(entries(file_with(tmp_path, json.dumps(tasks)))) == tasks


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert list(entries(file_with(tmp_path, b"\xef\xbb\xbf [1]\n"))) == [1]


def test_a_file_of_quotes_that_never_end_takes_no_time(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="expected a JSON export"):
        list(entries(file_with(tmp_path, b"[" + b'"\\' * 500_000)))


def test_a_single_entry_may_not_be_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_file, "MAX_ENTRY_BYTES", 1000)
    path = file_with(tmp_path, json.dumps([[1], "x" * 2000]))
    tasks = entries(path)
    assert next(tasks) == [1]
    with pytest.raises(AnnotationError, match="one task has 2002 bytes; expected at most 1000"):
        next(tasks)


@pytest.mark.parametrize(
    ("limit", "content", "message"),
    [
        ("MAX_ENTRIES", b"[1,2,3,4]", "it has more than 3 tasks; next step: export in parts"),
        ("MAX_ENTRY_TOKENS", b"[[[],[],[],[]]]", "one task has more than 3 lists and texts"),
    ],
)
def test_numbers_that_take_memory_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, content: bytes, message: str
) -> None:
    monkeypatch.setattr(task_file, limit, 3)
    with pytest.raises(AnnotationError, match=message):
        list(entries(file_with(tmp_path, content)))


@pytest.mark.skipif(sys.platform == "win32", reason="no address-space limit")
def test_a_large_export_is_read_in_little_memory(tmp_path: Path) -> None:
    code = json.dumps([i % 256 for i in range(200_000)])
    region = (
        '{"id": "r", "type": "brush", "original_width": 9, "original_height": 9, "value": '
        '{"format": "rle", "rle": %s}}'
    )
    task = '{"id": %d, "data": {}, "annotations": [{"result": [' + region % code + "]}]}"
    path = tmp_path / "export.json"
    with path.open("w") as stream:
        stream.write("[" + ",".join(task % number for number in range(80)) + "]")
    assert path.stat().st_size > 70_000_000
    read = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from loco_tools.annotations.formats import read_export\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "export = read_export(Path(sys.argv[1]))\n"
        "print(len(export.regions()), peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", read, str(path)], capture_output=True, text=True, check=True
    )
    regions, grown = map(int, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024
    assert regions == 80
    assert grown * unit < path.stat().st_size
