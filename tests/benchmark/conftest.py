from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loco_tools.benchmark.suite import Suite

STUB = "stub_detectors:Brightness"

IN_PROCESS = {"kind": "local", "workers": 0}
"""The run's own process, where tests can look inside a cell; executors have tests of their own."""


@pytest.fixture
def make_suite(tmp_path: Path) -> Callable[..., Suite]:
    """A suite of stub detectors, worked on in this process; a fit leaves a line in `fits.txt`."""

    def make(*titles: str, **settings: Any) -> Suite:
        overrides = {"journal": str(tmp_path / "fits.txt")}
        own = settings.pop("overrides", {})
        methods = [
            {"name": STUB, "label": title, "overrides": overrides | own.get(title, {})}
            for title in titles or ("bright",)
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
