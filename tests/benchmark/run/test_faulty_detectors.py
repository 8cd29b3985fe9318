"""Whatever a detector of one's own does, its cell says what, and the run goes on."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from executor_runs import table
from faulty_detectors import FITS, SCORES

from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite

Make = Callable[..., Path]

HARMLESS = {"changes the folder", "changes torch", "float64", "float16", "integers"}
"""What the cell undoes, and other types of numbers."""

LINE = r" \(in faulty_detectors, line \d+\)"
TRACEBACK = "; next step: read traceback.txt in the cell's folder$"
READ_ONLY = (
    f"^ValueError: assignment destination is read-only{LINE}; images must not be modified: "
    f"expected the method to change a copy of them{TRACEBACK}"
)
FINITE = r"^faulty.score_batch: expected finite {0} scores, got 1 of {1} that are NaN or infinite; next step: "  # noqa: E501
SHAPE = r"^faulty.score_batch: expected {0} scores of shape \({1}\) for a batch of {2}, got shape \({3}\); next step: give each image one score and one map$"  # noqa: E501
EXPECTED = {
    "raises": f"^RuntimeError: boom{LINE}{TRACEBACK}",
    "asserts": f"^AssertionError.*{LINE}{TRACEBACK}",
    "exits": rf'^method "faulty_detectors:Faulty" called sys.exit\(0\){LINE}; expected it to '
    f"return, or to raise an exception{TRACEBACK}",
    "exits with words": r"^method .* called sys.exit\('enough'\)",
    "changes images in fit": READ_ONLY,
    "changes images in prediction": READ_ONLY,
    "NaN score": FINITE.format("image", 1),
    "NaN map": FINITE.format("patch", 1536),
    "infinite map": FINITE.format("patch", 1536),
    "overflow": "^faulty.score_batch: expected finite patch scores, got ",
    "one score": SHAPE.format("image", "7,", "7 images", "1,"),
    "twice the scores": SHAPE.format("image", "1,", "1 image", "2,"),
    "mean score": SHAPE.format("image", "1,", "1 image", ""),
    "map with channels": SHAPE.format("patch", "1, h, w", "1 image", "1, 1, 32, 48"),
    "one map": SHAPE.format("patch", "7, h, w", "7 images", "1, 32, 48"),
    "empty map": SHAPE.format("patch", "1, h, w", "1 image", "1, 0, 48"),
    "no scores": r"^faulty.score_batch: expected PatchScores\(.*\), got NoneType; next step: ",
    "arrays": r"^faulty.score_batch: expected image scores .* as a real tensor, got ndarray",
    "complex": r"^faulty.score_batch: expected image scores .* tensor, got torch.complex64",
}


@pytest.mark.parametrize("executor", [{"workers": 0}, {"workers": 1}])
def test_each_fault_of_a_detector_is_one_clear_message_and_costs_its_own_cell_alone(
    tmp_path: Path,
    make_loco_class: Make,
    monkeypatch: pytest.MonkeyPatch,
    executor: dict[str, Any],
) -> None:
    faults = [*FITS, *SCORES, "changes images in prediction"]
    assert sorted(faults) == sorted([*EXPECTED, *HARMLESS])
    name = "faulty_detectors:Faulty"
    methods = [
        {"name": name, "label": label, "overrides": {"commits": label}}
        for label in ("none", *faults, "none at the end")
    ]
    make_loco_class()
    monkeypatch.chdir(tmp_path)
    before = torch.get_default_dtype(), torch.get_num_threads()
    out = Path("relative")
    suite = Suite.model_validate(
        {"methods": methods, "backbone": "scattering", "executor": executor}
    )
    report = run(suite, [Path("data/plate")], out)
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before
    assert (Path.cwd(), report.failed) == (tmp_path, len(EXPECTED))
    cells = {row["method"]: row for row in table(out)}
    for fault, message in EXPECTED.items():
        assert cells[fault]["status"] == "failed", fault
        assert re.search(message, cells[fault]["error"]), (fault, cells[fault]["error"])
    figures = ("image_auroc_mean", "au_spro_0.05", "pixel_auroc")
    for fault in (*HARMLESS, "none at the end"):
        assert cells[fault]["error"] == ""
        for figure in figures:
            assert float(cells[fault][figure]) == pytest.approx(
                float(cells["none"][figure]), abs=2e-3
            ), (fault, figure)
