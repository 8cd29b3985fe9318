"""The commands that are killed: small inputs, what each command is, and how its output is read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    make_task,
    small_plan,
    write_export,
)
from fault_harness import Scenario
from session_builders import make_plan, write_photographs

from loco_tools import cli, files
from loco_tools import plan as plans
from loco_tools.annotations.masks_only import RECORD as REGIONS
from loco_tools.benchmark.cell.record import Cell, read_record, read_scores
from loco_tools.capture.session import (
    CameraRecord,
    Session,
    Shot,
    list_sessions,
    read_shots,
    write_session,
)
from loco_tools.cli import benching
from loco_tools.datasets import load
from loco_tools.datasets.images import read_image, write_png
from loco_tools.datasets.maps import map_path, write_map
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.datasets.validation import validate
from loco_tools.files import sha256_of

CAPTURED = make_plan(good=2, views=1)
STUB = "stub_detectors:Brightness"
CLASS = "composite_part"


def write_inputs(root: Path, make_loco_class: Callable[..., Path]) -> None:
    """Photographs, a session with two exports, a class, its maps, and a finished run."""
    write_photographs(CAPTURED, root / "photographs")
    _write_session(root / "captures" / CLASS / "session-001")
    plate = make_loco_class(root=root / "classes", train=3, validation=2, good=2)
    for sample in load(plate, warn=False).test:
        score = np.full(sample.size, 0.1 * len(sample.defects), np.float32)
        write_map(map_path(root / "maps" / "plate", sample), score)


def _write_session(folder: Path) -> None:
    plan = small_plan(CLASS)
    record = Session(
        session=folder.name,
        created="2026-01-02T03:04:05+00:00",
        loco_tools="0.1.0",
        simulated=True,
        seed=0,
        camera=CameraRecord(identity="twin", requested={}, actual={}),
        px_per_mm={"top": 2.0},
        plan=plan,
    )
    write_session(folder, record)
    rng = np.random.default_rng(0)
    lines = []
    for planned in plan.planned_shots():
        image = folder / "images" / f"{planned.shot}.png"
        write_png(image, rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        shot = Shot(
            **planned._asdict(),
            file=f"images/{planned.shot}.png",
            sha256=sha256_of(image),
            simulated=True,
            measurements={},
        )
        lines.append(shot.model_dump_json() + "\n")
    (folder / "shots.jsonl").write_text("".join(lines))
    for name, size in (("first", 20), ("second", 30)):
        marks = {"p0004-top": "scratch", "p0005-top": "scratch", "p0006-top": "misplaced_screw"}
        tasks = [
            make_task(brush_region(box(5, 5, size, size), label), task=number, shot=shot_name)
            for number, (shot_name, label) in enumerate(marks.items())
        ]
        tasks.append(make_task(task=9, shot="p0007-top"))
        write_export(folder / f"{name}.json", *tasks)


def run_cli(*words: str) -> Callable[[Path], int]:
    return lambda work: cli.run(["-q", *words])


def _capture(work: Path) -> int:
    plans.load_plan = lambda name: CAPTURED  # the child ends with this command
    words = ["--class", "angle", "--camera", f"folder:{work / 'photographs'}"]
    return cli.run(["-q", "capture", *words, "--unattended"])


def _bench(work: Path) -> int:
    benching._run_report_command = lambda out: out / "report.html"  # `report` has its own row
    words = [
        "--backbone",
        "scattering",
        "--workers",
        "0",
        "--data",
        str(work / "classes" / "plate"),
    ]
    return cli.run(["-q", "bench", "--methods", STUB, "--maps", *words, "--out", "run"])


def session_state(work: Path) -> object:
    """The shots of the journal, all of whose images are whole."""
    state = []
    for folder in list_sessions(work / "captures" / "angle"):
        for shot in read_shots(folder):
            assert sha256_of(folder / shot.file) == shot.sha256
            state.append((shot.shot, shot.sha256))
    return state


def class_state(path: str) -> Callable[[Path], object]:
    """A class, sound according to its own audit and sidecar; None without one."""

    def state(work: Path) -> object:
        folder = work / path
        files.settle(folder)
        audit = folder.with_name(f"{folder.name}.audit.json")
        page = folder.with_name(f"{folder.name}.audit.html")
        if not folder.exists():
            beside = (sidecar_path(folder), audit, page)
            assert not [file for file in beside if file.exists()], "files beside no class"
            return None
        findings = validate(folder)
        assert not findings.errors, [str(finding) for finding in findings.errors]
        dataset = load(folder, warn=False)
        areas = [sample.ground_truth().sum() for sample in dataset.test]
        records = read_records(sidecar_path(folder))
        images = {p.relative_to(folder).as_posix() for p in folder.glob("*/*/*.png")}
        assert {name for name in images if not name.startswith("ground_truth")} == records.keys()
        if audit.exists():
            hashes = json.loads(audit.read_bytes())["files"]
            present = {
                p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()
            }
            assert {name: sha256_of(file) for name, file in present.items()} == hashes
        return areas, records, page.exists() and page.read_bytes()

    return state


def masks_state(work: Path) -> object:
    """The masks that regions.json lists, all whole; None without the folder."""
    files.settle(work / "masks")
    if not (work / "masks").exists():
        return None
    record = json.loads((work / "masks" / REGIONS).read_bytes())
    listed = {region["file"]: region["area_px"] for region in record["regions"]}
    found = {p.relative_to(work / "masks").as_posix(): p for p in work.glob("masks/*/*.png")}
    assert {
        name: int((read_image(p).max(axis=-1) > 0).sum()) for name, p in found.items()
    } == listed
    return listed


def run_state(work: Path) -> object:
    """The scores of each cell; a cell is whole or not there."""
    cell = Cell(STUB, "plate", 0)
    record = read_record(cell, work / "run")
    folder = cell.folder(work / "run")
    if record is None:
        assert not folder.exists()
        return None
    scores = read_scores(folder / "scores.csv")
    assert record.status == "ok"
    assert (folder / "model" / "detector.json").exists()
    return record.key, scores


def files_state(first: str, *more: str) -> Callable[[Path], object]:
    """The bytes of files, of which the first gives the commit its name."""

    def state(work: Path) -> object:
        files.settle(work / first)
        contents = {}
        for name in (first, *more):
            for path in sorted(
                (work / name).rglob("*") if (work / name).is_dir() else [work / name]
            ):
                contents[path.relative_to(work).as_posix()] = (
                    path.read_bytes() if path.is_file() else None
                )
        return contents

    return state


SESSION = f"captures/{CLASS}/session-001"
CONVERT = ("convert", f"{SESSION}/second.json")
REPORT = ("tables", "report.md", "report.html", "ensembles.csv")

SCENARIOS = [
    Scenario("capture", _capture, session_state, resumes=True),
    Scenario("convert", run_cli(*CONVERT), class_state(f"data/{CLASS}")),
    Scenario(
        "export",
        run_cli("export", "classes/plate", "--to", "ad", "--out", "ad/plate", "--overwrite"),
        class_state("ad/plate"),
    ),
    Scenario(
        "masks-only",
        run_cli(*CONVERT, "--masks-only"),
        masks_state,
    ),
    Scenario(
        "bench",
        _bench,
        run_state,
        resumes=True,
        ignored=("run/results.csv", "run/run.json"),
    ),
    Scenario(
        "report",
        run_cli("report", "finished"),
        files_state(*(f"finished/{name}" for name in REPORT)),
    ),
    Scenario(
        "show",
        run_cli("show", "classes/plate"),
        files_state("sheets/plate.png", "sheets/plate.html"),
    ),
    Scenario(
        "calibrate board", run_cli("calibrate", "board", "--out", "b.png"), files_state("b.png")
    ),
    Scenario(
        "evaluate",
        run_cli(
            *("evaluate", "maps/plate", "--data", "classes/plate", "--json", "m.json"),
            *("--bootstrap", "0"),
        ),
        files_state("m.json"),
    ),
    Scenario("card", run_cli("card", "classes/plate", "--out", "card.md"), files_state("card.md")),
]

BEFORE = {
    "convert": run_cli("convert", f"{SESSION}/first.json"),
    "masks-only": run_cli("convert", f"{SESSION}/first.json", "--masks-only"),
    "export": run_cli(
        *("export", "classes/plate", "--to", "loco", "--out", "ad/plate", "--overwrite")
    ),
    "show": run_cli("show", "classes/plate", "--examples", "1"),
}
"""Commands whose output the scenario of that name replaces, in a second row of the table."""
