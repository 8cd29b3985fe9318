"""Names of classes, defects, images, labels and methods that act where they are shown.

A class with such names goes through the commands. Whatever a command prints and writes shows the
names and does nothing else.
"""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from annotation_builders import make_region, make_task, write_export

import loco_tools
from loco_tools import cli
from loco_tools.benchmark.cell.record import read_scores

CLASS = "=cmd|' \x1b[31mC"
METHOD = "@SUM(1)|`m`\x1b]0;m\x07<script>x</script>"
DEFECTS = ["=1+1 \x1b[2J", "-1+1|`<b>", "\t=1\u202egnp"]
IMAGES = ["=cmd|'-c x'!A1", "-1+1", "a|`b`<script>x<", "\u202egnp", "@SUM(1)"]
REFUSED = ["\t=1", "\x1b]0;t\x07", "a\nb", "M\udcfcller"]
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")


@pytest.fixture
def hostile(make_loco_class: Callable[..., Path]) -> Path:
    """A class in which the names of the folder, the defects and some images are hostile."""
    values = (255, 254, 100)
    config = [
        {
            "defect_name": name,
            "pixel_value": value,
            "saturation_threshold": 1.0,
            "relative_saturation": True,
        }
        for name, value in zip(DEFECTS, values, strict=True)
    ]
    folder = make_loco_class(CLASS, good=len(IMAGES), config=config)
    for number, name in enumerate(IMAGES):
        path = folder / "test" / "good" / f"{number:03d}.png"
        path.rename(path.with_name(f"{name}.png"))
    return folder


@pytest.fixture
def shows(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command, checks all that it prints, and gives its output."""

    def run(*words: str | Path, codes: tuple[int, ...] = (0,)) -> str:
        assert cli.run([str(word) for word in words]) in codes
        printed = capsys.readouterr()
        for text in (printed.out, printed.err):
            found = CONTROLS.search(text.replace("\n", ""))
            assert found is None, (words, text)
            text.encode("utf-8")
        if "--json" in words:
            json.loads(printed.out)
        return printed.out

    return run


def test_validate_show_and_card_show_hostile_names(
    hostile: Path, shows: Callable[..., str], tmp_path: Path
) -> None:
    mask = hostile / "ground_truth" / "logical_anomalies" / "000" / "000.png"
    sound = mask.read_bytes()
    mask.write_bytes(b"damaged")
    assert r"\x1b[31mC" in shows("validate", hostile, codes=(1,))
    shows("validate", hostile, "--json", codes=(1,))
    mask.write_bytes(sound)
    shows("validate", hostile.parent / "\x1b[31m", codes=(2,))
    out = tmp_path / "shown"
    assert r"=1+1 \x1b[2J" in shows("show", hostile, "--out", out)
    shows("show", hostile, "--json", "--out", out)
    for page in out.rglob("*.html"):
        check_html(page)
    card = tmp_path / "card.md"
    shows("card", hostile, "--out", card)
    check_markdown(card)


def test_masks_only_shows_hostile_labels(shows: Callable[..., str], tmp_path: Path) -> None:
    regions = [
        make_region(
            id=f"r{n}",
            value={"x": n, "y": 1, "width": 9, "height": 9, "rotation": 0}
            | {"rectanglelabels": [name]},
        )
        for n, name in enumerate([*DEFECTS, *IMAGES, *REFUSED])
    ]
    export = write_export(tmp_path / "\x1b[31m.json", make_task(*regions, task="\x1b[1m=1"))
    out = tmp_path / "masks"
    shows("convert", export, "--masks-only", "--out", out)
    shows("convert", export, "--masks-only", "--out", out, "--overwrite", "--json")
    record = (out / "regions.json").read_text(encoding="utf-8")
    assert CONTROLS.search(record.replace("\n", "")) is None
    assert [r["label"] for r in json.loads(record)["regions"]][:3] == DEFECTS
    shows("convert", tmp_path / "\x1b[2J.json", "--masks-only", "--out", out, codes=(2,))


def test_bench_and_report_show_hostile_names(
    hostile: Path, shows: Callable[..., str], tmp_path: Path
) -> None:
    suite, out = tmp_path / "suite.toml", tmp_path / "run"
    entry = f"{{ name = 'patchcore', label = {json.dumps(METHOD)} }}"
    suite.write_text(f'methods = [{entry}]\nbackbone = "scattering"\ninput_size_px = 64\n')
    bench = ["bench", "--suite", suite, "--data", hostile.parent, "--out", out]
    shows(*bench, "--dry-run")
    log = tmp_path / "log"
    shows(*bench, "--log-file", log)
    assert CONTROLS.search(log.read_text(encoding="utf-8").replace("\n", "")) is None
    shows("report", out, "--json")
    shows("report", out, "--publish", tmp_path / "published.md")
    tables = [*out.rglob("*.csv"), tmp_path / "published.csv"]
    assert {"results.csv", "scores.csv", "published.csv"} <= {path.name for path in tables}
    for path in tables:
        check_csv(path)
    for path in (out / "report.md", tmp_path / "published.md"):
        check_markdown(path)
    check_html(out / "report.html")
    (scores,) = out.rglob("scores.csv")
    assert {score.id for score in read_scores(scores)} >= set(IMAGES)


@pytest.mark.parametrize("name", REFUSED)
def test_image_names_that_no_result_could_hold_are_shown_and_refused(
    make_loco_class: Callable[..., Path], shows: Callable[..., str], tmp_path: Path, name: str
) -> None:
    if sys.platform == "darwin" and not name.isascii():
        pytest.skip("macOS allows UTF-8 only")
    folder = make_loco_class("plate")
    (folder / "test" / "good" / "000.png").rename(folder / "test" / "good" / f"{name}.png")
    shows("validate", folder, codes=(1,))
    shows("validate", folder, "--json", codes=(1,))
    shows("show", folder, "--out", tmp_path / "shown", codes=(1,))
    shows("validate", folder.with_name(name), codes=(2,))
    bench = ("bench", "--methods", "patchcore", "--backbone", "scattering", "--size", "64")
    shows(*bench, "--data", folder, "--out", tmp_path / "run", "--json", codes=(1,))


def test_nothing_is_written_past_the_functions_that_make_names_inert() -> None:
    past = re.compile(r"click\.echo\((?!visible\()|csv\.(writer|DictWriter)|ensure_ascii=False")
    root = Path(loco_tools.__file__).parent
    texts = {path.relative_to(root): path.read_text("utf-8") for path in root.rglob("*.py")}
    found = {path.as_posix() for path, text in texts.items() if past.search(text)}
    assert found == {"wording.py", "cli/printing.py"}, "use loco_tools.wording, cli.printing.echo"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_of_any_encoding_gets_every_name(
    make_loco_class: Callable[..., Path], tmp_path: Path, encoding: str
) -> None:
    folder = make_loco_class("Gehäuse中")
    program = [sys.executable, "-c", "from loco_tools.cli import main; main()"]
    show = ["show", str(folder), "--out", str(tmp_path / "shown")]
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*program, *show, *more],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        # click takes ASCII for a mistake of the environment and writes UTF-8
        text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
        if more:
            assert json.loads(text)["name"] == "Gehäuse中"
        else:
            assert "Geh" in text


def check_csv(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert CONTROLS.search(text.replace("\n", "")) is None, path
    for row in csv.reader(text.splitlines(keepends=True)):
        for cell in row:
            assert not re.match(r"\s*[=+@-]", cell) or re.fullmatch(r"[+-]?[\d.e+-]+", cell), cell


def check_markdown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert CONTROLS.search(text.replace("\n", "")) is None, path
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    for line in body.splitlines():
        if "<!-- generated" in line or "<!-- /generated" in line:
            continue
        bare = re.sub(r"`[^`]*`|\\.", "", line)
        assert "<" not in bare, line
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables: list[int] = []
    for line in rows:
        cells = len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line)))
        if re.fullmatch(r"[|: -]+", line):
            assert tables[-1] == cells, line
        tables.append(cells)


def check_html(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert CONTROLS.search(re.sub(r"[\n\r\t]", "", text)) is None, path

    class Tags(HTMLParser):
        def handle_data(self, data: str) -> None:
            if self.get_starttag_text() == "<script>":
                assert data.strip() != "x"

    Tags().feed(text)
    assert "<script>x" not in text
