from pathlib import Path

import pytest
from fuzzing import damaged, fuzz, within_bounds
from hypothesis import strategies as st

from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.benchmark.suite import Suite, parse_settings, with_settings
from loco_tools.plan import Plan
from loco_tools.schema import Schema, read_toml

ROOT = Path(__file__).parents[2]
PLANS = [path.read_bytes() for path in sorted((ROOT / "capture").glob("*.toml"))]
TAXONOMIES = [path.read_bytes() for path in sorted((ROOT / "annotations").glob("*.toml"))]
SUITES = [path.read_bytes() for path in sorted((ROOT / "benchmark/suites").glob("*.toml"))]

HOSTILE_TOML = [
    b"[[[[[[",
    b"===",
    b"[" * 2_000 + b"]" * 2_000,
    b"{a=" * 200,
    b"9" * 5_000,
    b"0x" + b"f" * 5_000,
    b"1e999",
    b"nan",
    b"-inf",
    rb'"\ud800"',
    b"'''",
    b'"""',
    b"a." * 2_000,
    b"0001-01-01T00:00:00Z",
    b"\xff\xfe",
    b"\x1b[2J",
    b"\x00",
]


@st.composite
def hostile_toml(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """A definition in which values or lines are replaced, or bytes are damaged."""
    if draw(st.booleans()):
        return draw(damaged(corpus))
    lines = draw(st.sampled_from(corpus)).split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[number].partition(b"=")
        value = draw(st.sampled_from(HOSTILE_TOML))
        lines[number] = key + equals + value if equals else value
    return b"\n".join(lines)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("definitions") / "part.toml"


def read(model: type[Schema], path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with within_bounds():
        read_toml(model, path)


@fuzz(content=hostile_toml(PLANS))
def test_plans(path: Path, content: bytes) -> None:
    read(Plan, path, content)


@fuzz(content=hostile_toml(TAXONOMIES))
def test_taxonomies(path: Path, content: bytes) -> None:
    read(Taxonomy, path, content)


@fuzz(content=hostile_toml(SUITES))
def test_suites(path: Path, content: bytes) -> None:
    read(Suite, path, content)


SUITE = Suite.model_validate({"methods": [{"name": "patchcore"}]})


@fuzz(
    key=st.sampled_from(["patchcore.coreset_ratio", "executor.kind", "a.b.c", "x"]) | st.text(),
    value=st.sampled_from([part.decode("latin-1") for part in HOSTILE_TOML]) | st.text(),
)
def test_settings_of_the_command_line(key: str, value: str) -> None:
    with within_bounds():
        with_settings(SUITE, parse_settings([f"{key}={value}"]))
