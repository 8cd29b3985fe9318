import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.benchmark.cell.hashes import code_behind, code_hash
from loco_tools.datasets import data_hash as data_hashes
from loco_tools.datasets.data_hash import data_hash, sidecar_hash


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


def test_folders_that_are_links_count_with_their_files_and_a_circle_of_links_ends(
    tmp_path: Path,
) -> None:
    path = folder(tmp_path)
    before = data_hash(path)
    (path / "test").rename(tmp_path / "elsewhere")
    (path / "test").symlink_to(tmp_path / "elsewhere")
    (path / "circle").symlink_to(path)
    assert data_hash(path) == before
    (tmp_path / "elsewhere" / "000.png").write_bytes(b"ONE")
    assert data_hash(path) != before


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    path = folder(tmp_path)
    before = data_hash(path)
    (path / ".DS_Store").write_bytes(b"x")
    assert data_hash(path) == before


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that their hashes are cached."""
    monkeypatch.setattr(data_hashes, "SETTLED_S", -60.0)


@pytest.mark.usefixtures("settled")
def test_the_cache_spares_reading_files_again_but_never_changes_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache, read = folder(tmp_path), tmp_path / "hashes.json", []
    sha256_of = data_hashes.files.sha256_of
    monkeypatch.setattr(
        data_hashes.files, "sha256_of", lambda file: [read.append(file.name), sha256_of(file)][1]
    )
    first = data_hash(path, cache)
    assert data_hash(path, cache) == first
    assert read == ["000.png", "001.png"], "each was read once"
    image = path / "test" / "000.png"
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    assert data_hash(path, cache) == first
    assert read == ["000.png", "001.png", "000.png"]


def swap_by_renaming(first: Path, second: Path) -> None:
    aside = first.with_suffix(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def swap_contents(first: Path, second: Path) -> None:
    contents = first.read_bytes(), second.read_bytes()
    for path, content in zip((second, first), contents, strict=True):
        path.write_bytes(content)


def write_over(first: Path, second: Path) -> None:
    second.write_bytes(first.read_bytes()[::-1])


def copy_over(first: Path, second: Path) -> None:
    shutil.copy2(first, second)


@pytest.mark.usefixtures("settled")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from([swap_by_renaming, swap_contents, write_over, copy_over]),
            st.permutations(range(4)),
        ),
        max_size=4,
    )
)
def test_with_its_cache_the_hash_is_the_same_as_without_whatever_was_done_to_files_of_one_size_and_time(  # noqa: E501
    changes: list[tuple[Callable[[Path, Path], None], list[int]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("data")
    images = [path / f"{number}.bmp" for number in range(4)]
    for number, image in enumerate(images):
        image.write_bytes(bytes([number, 7, 8]))
        os.utime(image, ns=(0, 10**18))
    cache = tmp_path_factory.mktemp("cache") / "hashes.json"
    assert data_hash(path, cache) == data_hash(path)
    for change, (first, second, *_) in changes:
        change(images[first], images[second])
        for image in images:
            os.utime(image, ns=(0, 10**18))
        assert data_hash(path, cache) == data_hash(path)


def test_the_hash_of_a_file_that_has_just_changed_is_not_cached(tmp_path: Path) -> None:
    path, cache = folder(tmp_path), tmp_path / "hashes.json"
    data_hash(path, cache)
    assert not cache.exists()


def test_the_sidecar_counts_by_its_parts_and_views_alone(tmp_path: Path) -> None:
    path = folder(tmp_path)
    assert sidecar_hash(path) == ""

    def of(*lines: str) -> str:
        path.with_name("plate.jsonl").write_text("\n".join(lines) + "\n")
        return sidecar_hash(path)

    one, two = '{"image": "a.png", "part": "1"}', '{"image": "b.png", "part": "2"}'
    first = of(one, two)
    assert of(two, one) == first
    assert of(one, two.replace("}", ', "labelled_by": "me"}')) == first
    merged = of(one, two.replace('"2"', '"1"'))
    viewed = of(one, two.replace("}", ', "view": "top"}'))
    damaged = of(one, two, "{")
    assert len({first, merged, viewed, damaged}) == 4


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


PLUGIN = """
from loco_tools.methods import MapDetector
{imports}
class Plain(MapDetector):
    def fit(self, images, *, seed): ...
    def score(self, image): ...
"""


@pytest.mark.parametrize(
    ("imports", "changed"),
    [
        ("from .helper import x", "kennel/pens/helper.py"),
        ("from . import helper", "kennel/pens/helper.py"),
        ("from ..top import x", "kennel/top.py"),
        ("from .. import top", "kennel/top.py"),
        ("import kennel.top", "kennel/top.py"),
        ("import beside_kennel", "beside_kennel.py"),
        ("def later():\n    from .helper import x", "kennel/pens/helper.py"),
        ("from .helper import x", "kennel/deep.py"),
        ("", "kennel/__init__.py"),
        ("", "kennel/pens/__init__.py"),
        ("", "kennel/pens/method.py"),
    ],
)
def test_the_code_of_a_plugin_has_all_that_it_imports_of_its_package_and_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str, changed: str
) -> None:
    sources = {
        "kennel/__init__.py": "",
        "kennel/deep.py": "x = 1\n",
        "kennel/top.py": "x = 1\n",
        "kennel/unused.py": "x = 1\n",
        "kennel/pens/__init__.py": "",
        "kennel/pens/helper.py": "from kennel import deep\nx = 1\n",
        "kennel/pens/method.py": PLUGIN.format(imports=imports),
        "beside_kennel.py": "x = 1\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    before = code_behind("kennel.pens.method:Plain")
    for name in (changed, "kennel/unused.py"):
        is_same = name != changed
        (tmp_path / name).write_text(sources[name] + "# changed\n")
        assert (code_behind("kennel.pens.method:Plain") == before) == is_same, name
        (tmp_path / name).write_text(sources[name])
    for module in [name for name in sys.modules if "kennel" in name]:
        del sys.modules[module]
