"""A detector in a file of the current folder, as the installed command finds it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

import loco_tools
from loco_tools.benchmark.cell import hashes

Make = Callable[..., Path]

DETECTOR = dedent(
    """
    import numpy as np
    from loco_tools.methods import MapDetector

    class Colour(MapDetector):
        '''Distance of every pixel to the mean colour.'''

        def fit(self, images, *, seed):
            self.mean = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)

        def score(self, image):
            return np.linalg.norm(image - self.mean, axis=2)
    """
)


def bench(folder: Path, data: Path, *options: str) -> dict[str, object]:
    """The JSON of a command that is run in `folder`, whose files Python itself does not find."""
    command = [sys.executable, "-P", "-m", "loco_tools", "-q", "bench", "--json", *options]
    finished = subprocess.run(
        [*command, "--methods", "my_colours:Colour", "--data", str(data), "--size", "64"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(loco_tools.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    outcome: dict[str, object] = json.loads(finished.stdout)
    return outcome


def test_a_worker_process_finds_the_file_and_its_code_belongs_to_the_key(
    tmp_path: Path, make_loco_class: Make
) -> None:
    data, folder = make_loco_class(size=(64, 96)), tmp_path / "workspace"
    folder.mkdir()
    (folder / "my_colours.py").write_text(DETECTOR)
    planned = bench(folder, data, "--dry-run")
    assert planned["cells"][0]["fate"] == "run"  # type: ignore[index]
    first = bench(folder, data, "--workers", "1")
    assert (first["failed"], first["reused"]) == (0, 0)
    assert (folder / "runs" / "bench" / "report.html").is_file()
    again = bench(folder, data, "--dry-run")
    assert again["cells"][0]["fate"] == "reuse"  # type: ignore[index]
    assert again["cells"][0]["key"] == planned["cells"][0]["key"]  # type: ignore[index]
    (folder / "my_colours.py").write_text(DETECTOR + "# changed\n")
    changed = bench(folder, data, "--dry-run")
    assert changed["cells"][0]["fate"] == "run"  # type: ignore[index]


def test_the_code_of_a_method_includes_all_that_makes_images_scores_and_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: set[str] = set()
    find = hashes._source_file

    def note(module: str) -> Path | None:
        source = find(module)
        hashed.update([module] if source is not None else [])
        return source

    monkeypatch.setattr(hashes, "_source_file", note)
    hashes.code_behind("simplenet")
    assert hashed >= {
        "loco_tools.benchmark.cell.work",
        "loco_tools.datasets.images",
        "loco_tools.datasets.masks",
        "loco_tools.datasets.mvtec_loco",
        "loco_tools.datasets.splits",
        "loco_tools.evaluation.evaluator",
        "loco_tools.methods.backbones.base",
        "loco_tools.methods.batch",
        "loco_tools.methods.simplenet",
        "loco_tools.metrics.spro",
        "loco_tools.synthesis.families",
        "loco_tools.synthesis.perlin",
    }
