"""Pre-annotations from the anomaly maps of a benchmark run, for annotators to correct.

A pixel is proposed when its anomaly score exceeds a quantile of the scores on the good test images.
An anomaly map does not tell which defect it shows, so a proposed region gets the label of the
defect that the plan photographed, and images of good parts get no proposals.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from loco_tools import files
from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.server.labelling_config import brush_items
from loco_tools.capture.session import Session, Shot
from loco_tools.datasets.maps import read_map
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.errors import AnnotationError, did_you_mean
from loco_tools.wording import csv_rows

QUANTILE = 0.995
"""Default share of the pixels of good images that stay below the threshold."""

_MOST_REGIONS = 5
_SMALLEST_SHARE = 1e-4
"""Share of the image below which a region is too small to be proposed."""


@dataclass(frozen=True)
class Proposal:
    """The proposed regions of one shot, each as an (H, W) mask, and the shot's score.

    Label Studio expects scores in [0, 1], and anomaly scores are not, so the score is the share of
    the run's test images whose anomaly score is not higher.
    """

    score: float
    regions: tuple[Mask, ...]


@dataclass(frozen=True)
class Proposals:
    """The proposals for a session by shot; `version` names the model and the threshold."""

    version: str
    by_shot: Mapping[str, Proposal]


def proposals_of(
    run: Path,
    record: Session,
    *,
    data: Path,
    method: str | None = None,
    seed: int | None = None,
    quantile: float = QUANTILE,
) -> Proposals:
    """Make proposals for the photographs of a session from a benchmark run with `--maps`.

    Args:
        run: folder of the run.
        record: the session.
        data: the folder of classes on which the run was made; `<class>.jsonl` in it records which
            image is which shot.
        method: method of the run; required when the run compared several.
        seed: seed of the run; required when the run had several.
        quantile: share of the pixels of good test images that stay below the threshold, in (0, 1).

    Raises:
        AnnotationError: the run has no maps of the class or of this session, the method or seed is
            ambiguous, the scores are damaged, or the quantile is out of range.
        DatasetError: a map or the sidecar is damaged.
    """
    if not 0 < quantile < 1:
        raise AnnotationError(f"quantile: expected a number between 0 and 1, got {quantile}")
    maps = _maps_folder(run, record.name, method, seed)
    method_folder, number = maps.parent.parent.name, maps.parent.name
    map_by_shot = {
        shot: path
        for shot, image in _image_by_shot(sidecar_path(data / record.name), record).items()
        if (path := (maps / image).with_suffix(".tiff")).is_file()
    }
    if not map_by_shot:
        raise AnnotationError(
            f"{maps}: has no map of session {record.session}; next step: convert the session, and "
            "run loco-tools bench --maps on it"
        )
    good = sorted((maps / "test" / "good").glob("*.tiff"))
    if not good:
        raise AnnotationError(f"{maps}: expected maps of good test images, found none")
    threshold = float(np.quantile(np.concatenate([read_map(p).ravel() for p in good]), quantile))
    ranks = _rank_scores(run / "cells" / method_folder / record.name / number / "scores.csv", maps)
    by_shot = {}
    for shot, path in map_by_shot.items():
        mask = read_map(path) > threshold
        smallest = max(1.0, mask.size * _SMALLEST_SHARE)
        blobs = [blob for blob in mask_to_shape.blobs(mask) if np.count_nonzero(blob) >= smallest]
        largest = sorted(blobs, key=np.count_nonzero, reverse=True)[:_MOST_REGIONS]
        rank = ranks.get((path.parent.name, path.stem), 0.0)
        by_shot[shot] = Proposal(rank, tuple(largest))
    return Proposals(f"{method_folder}, seed {number}, quantile {quantile:g}", by_shot)


def results_of(proposal: Proposal, shot: Shot, item_index: int | None) -> list[dict[str, Any]]:
    """A proposal as Label Studio's result items: the brush, label and group number of each region.

    All regions of an image have one group number, because the plan photographs one defect at a
    time.

    Args:
        proposal: the proposal for this shot.
        shot: what was photographed; a shot without a defect has no items.
        item_index: the page of the task that shows it, None in a task with one image.
    """
    if shot.defect is None:
        return []
    return [
        item
        for number, mask in enumerate(proposal.regions)
        for item in brush_items(
            mask,
            region=hashlib.sha256(f"{shot.shot}/{number}".encode()).hexdigest()[:10],
            label=shot.defect,
            group=1,
            item_index=item_index,
        )
    ]


def _maps_folder(run: Path, class_name: str, method: str | None, seed: int | None) -> Path:
    """The maps of the method and seed asked for, or the only ones of the class."""
    folders = sorted(run.glob(f"maps/*/*/{class_name}"))
    if not folders:
        raise AnnotationError(
            f"{run}: expected a benchmark run with anomaly maps of {class_name}, found none; next "
            "step: loco-tools bench --maps"
        )
    methods = sorted({path.parent.parent.name for path in folders})
    chosen = _choose_one("method", method, methods, run)
    seeds = sorted({path.parent.name for path in folders if path.parent.parent.name == chosen})
    number = _choose_one("seed", None if seed is None else str(seed), seeds, run)
    return run / "maps" / chosen / number / class_name


def _choose_one(what: str, asked: str | None, known: list[str], run: Path) -> str:
    if asked is not None and asked not in known:
        raise AnnotationError(f"{run}: no {what} {asked}; {did_you_mean(asked, known)}")
    if asked is None and len(known) > 1:
        raise AnnotationError(
            f"{run}: has maps of several {what}s; next step: give --{what}, one of "
            f"{', '.join(known)}"
        )
    return asked or known[0]


def _image_by_shot(sidecar: Path, record: Session) -> dict[str, str]:
    """The session's shots in the class, each with the path of its image in the class folder."""
    if not sidecar.is_file():
        raise AnnotationError(
            f"{sidecar}: no such file, which records the shot of each image; next step: give the "
            "folder of classes with --data"
        )
    return {
        line["shot"]: image
        for image, line in read_records(sidecar).items()
        if line.get("session") == record.session and isinstance(line.get("shot"), str)
    }


def _rank_scores(scores_csv: Path, maps: Path) -> dict[tuple[str, str], float]:
    """The share of images that score no higher, in (0, 1], for each image by kind folder and id.

    The scores are those of the cell's `scores.csv`, or the maxima of the maps without such a file.
    """
    scores: dict[tuple[str, str], float] = {}
    if scores_csv.is_file():
        try:
            for row in csv_rows(files.read_text(scores_csv)):
                scores[row["kind_folder"], row["id"]] = float(row["score"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{scores_csv}: expected the scores of a finished cell, got {error!r}; next step: "
                "run the benchmark again"
            ) from error
    if not scores:
        for path in maps.glob("test/*/*.tiff"):
            scores[path.parent.name, path.stem] = float(read_map(path).max())
    ranks = rankdata(list(scores.values()), method="max") / len(scores)
    return dict(zip(scores, ranks.tolist(), strict=True))
