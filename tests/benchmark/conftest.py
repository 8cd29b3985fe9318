from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loco_tools.benchmark.suite import Suite

STUB = "stub_detectors:Brightness"

IN_PROCESS = {"kind": "local", "workers": 0}
"""The process of the run, in which tests can inspect a cell; executors have their own tests."""


@pytest.fixture
def make_suite(tmp_path: Path) -> Callable[..., Suite]:
    """A suite of stub detectors that runs in this process; a fit adds a line to `fits.txt`."""

    def make(*names: str, **settings: Any) -> Suite:
        overrides = {"journal": str(tmp_path / "fits.txt")}
        own = settings.pop("overrides", {})
        methods = [
            {"name": STUB, "label": name, "overrides": overrides | own.get(name, {})}
            for name in names or ("bright",)
        ]
        here = {"methods": methods, "backbone": "scattering", "executor": IN_PROCESS}
        return Suite.model_validate(here | settings)

    return make


@pytest.fixture
def fits(tmp_path: Path) -> Callable[[], int]:
    """How many detectors have been fitted so far."""

    def count() -> int:
        journal = tmp_path / "fits.txt"
        return len(journal.read_text().splitlines()) if journal.exists() else 0

    return count
