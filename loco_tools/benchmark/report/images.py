"""The test images of a run with their true defects, as far as they can still be read."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.datasets import load
from loco_tools.datasets.sample import Sample
from loco_tools.errors import LocoToolsError


class Truth:
    """Reads every class of a run at most once."""

    def __init__(self, data: ReportData) -> None:
        self._classes = {one.name: _OfClass(one) for one in data.classes}

    def samples(self, one: ClassResults) -> Mapping[str, Sample]:
        """The test images by "<kind folder>/<id>"; none where they cannot be read."""
        return self._classes[one.name].read[0]

    def fault(self, one: ClassResults) -> str:
        """Why they cannot be read; empty where they can."""
        return self._classes[one.name].read[1]

    def shares(self, one: ClassResults) -> dict[str, float]:
        """Of every defective image the share of its pixels that are defective."""
        return self._classes[one.name].shares


class _OfClass:
    def __init__(self, results: ClassResults) -> None:
        self._results = results

    @cached_property
    def read(self) -> tuple[dict[str, Sample], str]:
        try:
            found = load(self._results.path).test
        except (LocoToolsError, OSError) as error:
            return {}, str(error)
        return {f"{sample.kind_folder}/{sample.id}": sample for sample in found}, ""

    @cached_property
    def shares(self) -> dict[str, float]:
        found = {}
        for key, sample in self.read[0].items():
            try:
                if sample.defects:
                    found[key] = float(np.mean(sample.ground_truth()))
            except (LocoToolsError, OSError):
                continue  # the gallery says what is wrong with it
        return found
