"""Errors of detectors at a threshold that no test image influences, and what errors have in common.

The threshold of each method is the score that most of the good validation images stay below
(`good_threshold`). An image is called defective when its score lies above.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell.record import CellRecord, Score, read_scores
from loco_tools.errors import BenchmarkError
from loco_tools.metrics.diversity import good_threshold

Bools = npt.NDArray[np.bool_]

SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Decision:
    """One method on the test images of a class: its threshold, and which it is wrong about."""

    method: str
    threshold: float
    wrong: Bools  # (N,)


@dataclass(frozen=True)
class ClassErrors:
    """The decisions of the methods on a class, all of the first seed and on the same images."""

    images: tuple[Score, ...]
    decisions: tuple[Decision, ...]

    @property
    def wrong(self) -> Bools:
        """(methods, N): whether a method is wrong about an image."""
        return np.stack([one.wrong for one in self.decisions])

    @property
    def anomalous(self) -> Bools:
        """(N,): which images are defective."""
        return np.array([image.kind != "good" for image in self.images])

    def hardest(self) -> list[int]:
        """The images that any method is wrong about, those with the most wrong methods first."""
        counts = self.wrong.sum(axis=0)
        return [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]

    def groups(self, shares: Mapping[str, float]) -> dict[str, Bools]:
        """Groups of images, each with which images belong to it.

        Kinds, then defect types, then thirds of the defective images by the share of the image
        that is defective; `shares` has it by "<kind folder>/<id>", and may lack some.
        """
        kinds = {f"all {kind}": [s.kind == kind for s in self.images]
                 for kind in ("good", "logical", "structural")}  # fmt: skip
        types = {
            name: [name in s.defects for s in self.images]
            for name in sorted({name for s in self.images for name in s.defects})
        }
        found = {**kinds, **types, **self._thirds(shares)}
        picked = {name: np.array(members) for name, members in found.items()}
        return {name: members for name, members in picked.items() if members.any()}

    def overlap(self) -> npt.NDArray[np.float64]:
        """(methods, methods): errors of both over errors of either (Jaccard); NaN without any."""
        wrong = self.wrong.astype(np.float64)
        both = wrong @ wrong.T
        own = both.diagonal()
        either = own[:, None] + own[None, :] - both
        empty = np.full(both.shape, np.nan)
        share: npt.NDArray[np.float64] = np.divide(both, either, out=empty, where=either > 0)
        return share

    def _thirds(self, shares: Mapping[str, float]) -> dict[str, list[bool]]:
        known = {i: shares[key_of(s)] for i, s in enumerate(self.images)
                 if s.kind != "good" and key_of(s) in shares}  # fmt: skip
        if len(known) < len(SIZES):
            return {}
        edges = [float(np.quantile(list(known.values()), share)) for share in (1 / 3, 2 / 3)]
        names = {i: SIZES[int(np.searchsorted(edges, share))] for i, share in known.items()}
        return {
            f"{size} ({_range(edges, place)} of the image)": [
                names.get(i) == size for i in range(len(self.images))
            ]
            for place, size in enumerate(SIZES)
        }


def key_of(score: Score) -> str:
    """The name of a test image: "<kind folder>/<id>"."""
    return f"{score.kind_folder}/{score.id}"


def analyse_errors(data: ReportData, results: ClassResults) -> ClassErrors | None:
    """The decisions on a class; None where no method has kept validation scores.

    Raises:
        BenchmarkError: scores are missing or damaged, or of different images.
    """
    decisions: list[Decision] = []
    images: tuple[Score, ...] = ()
    for record in results.shown:
        found = _decision(data, record)
        if found is None:
            continue
        scores, decision = found
        if images and [key_of(s) for s in images] != [key_of(s) for s in scores]:
            raise BenchmarkError(
                f"{record.cell}: expected scores of the same test images as of the other methods, "
                "got others; next step: remove the cell's folder and run the benchmark again"
            )
        images = images or scores
        decisions.append(decision)
    return ClassErrors(images, tuple(decisions)) if decisions else None


def _decision(data: ReportData, record: CellRecord) -> tuple[tuple[Score, ...], Decision] | None:
    path = record.cell.folder(data.out) / "validation_scores.csv"
    validation = read_scores(path) if path.is_file() else []
    if not validation:
        return None
    threshold = good_threshold([score.score for score in validation])
    scores = tuple(data.scores(record.cell))
    wrong = np.array([(s.score > threshold) == (s.kind == "good") for s in scores])
    return scores, Decision(record.stamp.method, threshold, wrong)


def shares_wrong(wrong: Bools, groups: Mapping[str, Bools]) -> dict[str, list[float]]:
    """Per group the share of its images that each method is wrong about.

    Args:
        wrong: (methods, N).
        groups: (N,) each, with at least one member.
    """
    return {
        name: [float(share) for share in wrong[:, members].mean(axis=1)]
        for name, members in groups.items()
    }


def _range(edges: Sequence[float], place: int) -> str:
    low = f"{100 * edges[place - 1]:.2g} %" if place else ""
    high = f"{100 * edges[place]:.2g} %" if place < len(edges) else ""
    if not low:
        return f"up to {high}"
    return f"{low} to {high}" if high else f"above {low}"


def methods_wrong(found: ClassErrors, image: int) -> Iterable[str]:
    """The methods that are wrong about an image."""
    return [one.method for one in found.decisions if one.wrong[image]]
