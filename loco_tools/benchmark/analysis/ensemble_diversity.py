"""Diversity of the members of ensembles, and reliability of their probabilities."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis.ensemble_gains import ensembles_of, members_of
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell.record import CellRecord, Score, read_scores
from loco_tools.benchmark.run.results_csv import MeanOverSeeds, mean_over_seeds
from loco_tools.metrics import diversity, reliability

Array = npt.NDArray[np.float64]

ASSUMED_SHARE = 0.5
"""The share of anomalous images that probabilities are made for: synthetic anomalies are as many
as good images."""


@dataclass(frozen=True)
class Decisions:
    """Shares of images that are decided rightly; means over seeds."""

    good: float
    anomalous: float
    everything: float


@dataclass(frozen=True)
class Diversity:
    """Diversity of the members of a class's ensembles; means over seeds.

    `good`, `anomalous`: rank correlations of image scores, `q`: Yule's Q of right decisions; all
    (members, members). `decisions` are by method, ensembles among them; `oracle` is whoever of the
    members is right. None where validation scores were not kept.
    """

    members: tuple[str, ...]
    good: Array
    anomalous: Array
    q: Array | None
    decisions: dict[str, Decisions]
    oracle: Decisions | None


@dataclass(frozen=True)
class Calibration:
    """Probabilities against what happened: the curve of the first seed, means over seeds."""

    curve: reliability.ReliabilityCurve
    error: MeanOverSeeds
    brier: MeanOverSeeds


@dataclass(frozen=True)
class MethodReliability:
    """A method whose scores are probabilities: as they are, and for the test set's share.

    `by_chance` is the calibration error that perfect probabilities would show on these images.
    """

    method: str
    share: float
    uncorrected: Calibration
    corrected: Calibration
    by_chance: float


def diversity_of(data: ReportData, results: ClassResults) -> Diversity | None:
    """The diversity of a class's ensemble members; None with fewer than two of them."""
    members = members_of(results)
    by_seed = {
        seed: {r.stamp.method: r for r in results.done if r.stamp.seed == seed}
        for seed in dict.fromkeys(record.stamp.seed for record in results.done)
    }
    complete = [found for found in by_seed.values() if all(name in found for name in members)]
    if len(members) < 2 or not complete:
        return None
    ranks: dict[str, list[Array]] = {"good": [], "anomalous": []}
    overlaps: list[Array] = []
    right: dict[str, list[Decisions]] = {}
    shown = (*members, *ensembles_of(results.done))
    for records in complete:
        scores = {name: data.scores(records[name].cell) for name in shown if name in records}
        truth = np.array([score.kind != "good" for score in scores[members[0]]])
        values = np.array([[score.score for score in scores[name]] for name in members])
        ranks["good"].append(diversity.rank_correlation(values[:, ~truth]))
        ranks["anomalous"].append(diversity.rank_correlation(values[:, truth]))
        decided = {n: _right(data, records[n], scores[n], truth) for n in scores}
        together = [row for name in members if (row := decided[name]) is not None]
        for name, row in decided.items():
            if row is not None:
                right.setdefault(name, []).append(_shares(row, truth, np.mean))
        if len(together) == len(members):
            rows = np.stack(together)
            overlaps.append(diversity.q_statistic(rows))
            right.setdefault("", []).append(_shares(rows, truth, diversity.oracle_accuracy))
    averaged = {name: _averaged(found) for name, found in right.items()}
    oracle = averaged.pop("", None)
    return Diversity(
        members,
        _over_seeds(ranks["good"]),
        _over_seeds(ranks["anomalous"]),
        _over_seeds(overlaps) if overlaps else None,
        averaged,
        oracle,
    )


def reliability_of(data: ReportData, results: ClassResults) -> list[MethodReliability]:
    """Every method of a class whose scores are probabilities."""
    found = []
    for first in results.shown:
        records = [r for r in results.of(first.stamp.method) if r.probabilities]
        if not records:
            continue
        scores = [data.scores(record.cell) for record in records]
        truth = np.array([score.kind != "good" for score in scores[0]])
        said = [np.array([score.score for score in of_seed]) for of_seed in scores]
        share = float(truth.mean())
        if not 0 < share < 1:
            continue
        moved = [reliability.shift_prior(p, assumed=ASSUMED_SHARE, actual=share) for p in said]
        chance = reliability.calibration_error_by_chance(said[0])
        uncorrected, corrected = _calibration(said, truth), _calibration(moved, truth)
        found.append(MethodReliability(first.stamp.method, share, uncorrected, corrected, chance))
    return found


def _right(
    data: ReportData, record: CellRecord, scores: Sequence[Score], truth: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """(N,): the images that a method is right about at the threshold of its validation scores."""
    path = record.cell.folder(data.out) / "validation_scores.csv"
    if not path.is_file():
        return None
    threshold = diversity.good_threshold([score.score for score in read_scores(path)])
    right = diversity.right_decisions([[s.score for s in scores]], [threshold], truth)
    return right.reshape(-1)


def _shares(
    right: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    share: Callable[[npt.NDArray[np.bool_]], float | np.floating],
) -> Decisions:
    """The share of good, anomalous and all images out of (..., N)."""
    return Decisions(*(float(share(right[..., picks])) for picks in (~truth, truth, truth | True)))


def _averaged(found: Sequence[Decisions]) -> Decisions:
    return Decisions(
        statistics.fmean(one.good for one in found),
        statistics.fmean(one.anomalous for one in found),
        statistics.fmean(one.everything for one in found),
    )


def _over_seeds(found: Sequence[Array]) -> Array:
    """The mean of what is known; NaN where nothing is."""
    stacked = np.stack(found)
    known = np.isfinite(stacked)
    total, counts = np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0)
    mean: Array = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
    return mean


def _calibration(said: Sequence[Array], truth: npt.NDArray[np.bool_]) -> Calibration:
    curves = [reliability.reliability_curve(of_seed, truth) for of_seed in said]
    error = mean_over_seeds(reliability.expected_calibration_error(curve) for curve in curves)
    brier = mean_over_seeds(reliability.brier_score(of_seed, truth) for of_seed in said)
    if error is None or brier is None:
        raise ValueError("expected probabilities of at least one seed, got none")
    return Calibration(curves[0], error, brier)
