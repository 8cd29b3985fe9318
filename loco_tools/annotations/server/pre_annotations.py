"""From a benchmark run's anomaly maps to brush marks that annotators correct rather than draw.

A pixel is marked when its score exceeds a quantile of the scores on the good test images. A map
does not say which defect it sees, so a mark is labelled as what the plan photographed, and images
of good parts get none.
"""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.server.labelling_config import IMAGE, LABEL_CONTROL
from loco_tools.capture.session import Session, Shot
from loco_tools.datasets.maps import read_map
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.errors import AnnotationError, did_you_mean

QUANTILE = 0.995
"""Default share of good pixels that stay unmarked."""

_MOST_REGIONS = 5
_SMALLEST_SHARE = 1e-4
"""Of the image: smaller marks are not worth correcting."""


@dataclass(frozen=True)
class Proposal:
    """What a run makes of one shot: the marked pixels, each piece (H, W), and a score.

    Label Studio wants scores in [0, 1], which anomaly scores are not, so it is the share of the
    run's test images whose image score is no higher.
    """

    score: float
    regions: tuple[Mask, ...]


@dataclass(frozen=True)
class Proposals:
    """What a run makes of a session, by shot; `version` names the model and the threshold."""

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
    """Read what a benchmark run with `--maps` found on the photographs of a session.

    Args:
        run: folder of the run.
        record: the session.
        data: the folder of classes that the run was made on; `<class>.jsonl` in it tells which
            image is which shot.
        method: of the run; needed when it compared several.
        seed: of the run; needed when it had several.
        quantile: share of the pixels of good test images that stay below the threshold, in (0, 1).

    Raises:
        AnnotationError: the run has no maps of the class, several to choose from, or none of this
            session's photographs, or damaged scores; or the quantile is none.
        DatasetError: a map or the sidecar is damaged.
    """
    if not 0 < quantile < 1:
        raise AnnotationError(f"quantile: expected a number between 0 and 1, got {quantile}")
    maps = _maps_folder(run, record.name, method, seed)
    method_folder, number = maps.parent.parent.name, maps.parent.name
    shots = _shots(sidecar_path(data / record.name), record)
    found = {
        shot: path for shot, image in shots.items() if (path := _map_of(maps, image)).is_file()
    }
    if not found:
        raise AnnotationError(
            f"{maps}: has no map of session {record.session}; next step: convert the session, and "
            "run loco-tools bench --maps on it"
        )
    threshold = _threshold(maps, quantile)
    scores = _scores(run / "cells" / method_folder / record.name / number / "scores.csv")
    ranks = _ranks(scores or {_key(path): _highest(path) for path in maps.glob("test/*/*.tiff")})
    by_shot = {
        shot: Proposal(ranks.get(_key(path), 0.0), _pieces(read_map(path) > threshold))
        for shot, path in found.items()
    }
    return Proposals(f"{method_folder}, seed {number}, quantile {quantile:g}", by_shot)


def results_of(proposal: Proposal, shot: Shot, item_index: int | None) -> list[dict[str, Any]]:
    """A proposal as Label Studio's result items: for each region its brush, label and number.

    All regions of an image have one group number: the plan photographs one defect at a time.

    Args:
        proposal: of this shot.
        shot: what was photographed; one without a defect has no items.
        item_index: the page that shows it, None in a task of one image.
    """
    if shot.defect is None:
        return []
    items = []
    for number, mask in enumerate(proposal.regions):
        height, width = mask.shape
        common: dict[str, Any] = {
            "id": hashlib.sha256(f"{shot.shot}/{number}".encode()).hexdigest()[:10],
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
        }
        if item_index is not None:
            common["item_index"] = item_index
        drawn = mask_to_shape.brush(mask)
        for kind, control, value in (
            ("brush", "brush", drawn),
            ("labels", LABEL_CONTROL, {**drawn, "labels": [shot.defect]}),
            ("number", GROUP_CONTROL, {**drawn, "number": 1}),
        ):
            items.append({**common, "type": kind, "from_name": control, "value": value})
    return items


def _maps_folder(run: Path, class_name: str, method: str | None, seed: int | None) -> Path:
    """The maps that are taken: the only ones of the class, or those asked for."""
    there = sorted(run.glob(f"maps/*/*/{class_name}"))
    if not there:
        raise AnnotationError(
            f"{run}: expected a benchmark run with anomaly maps of {class_name}, found none; next "
            "step: loco-tools bench --maps"
        )
    methods = sorted({path.parent.parent.name for path in there})
    chosen = _only("method", method, methods, run)
    seeds = sorted({path.parent.name for path in there if path.parent.parent.name == chosen})
    number = _only("seed", None if seed is None else str(seed), seeds, run)
    return run / "maps" / chosen / number / class_name


def _only(what: str, asked: str | None, there: list[str], run: Path) -> str:
    if asked is not None and asked not in there:
        raise AnnotationError(f"{run}: no {what} {asked}; {did_you_mean(asked, there)}")
    if asked is None and len(there) > 1:
        raise AnnotationError(
            f"{run}: has maps of several; next step: give --{what}, one of {', '.join(there)}"
        )
    return asked or there[0]


def _shots(sidecar: Path, record: Session) -> dict[str, str]:
    """The session's shots in the class -> their images."""
    if not sidecar.is_file():
        raise AnnotationError(
            f"{sidecar}: no such file, so nothing tells which image is which shot; next step: give "
            "the folder of classes with --data"
        )
    return {
        known["shot"]: image
        for image, known in read_records(sidecar).items()
        if known.get("session") == record.session and isinstance(known.get("shot"), str)
    }


def _scores(path: Path) -> dict[tuple[str, str], float]:
    """Image scores by kind folder and id; none where the run keeps none."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
            return {(row["kind_folder"], row["id"]): float(row["score"]) for row in rows}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path}: expected the scores of a finished cell, got {error!r}; next step: run the "
            "benchmark again"
        ) from error


def _ranks(scores: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """For each image the share of images that score no higher than it, in (0, 1]."""
    ordered = np.sort(list(scores.values()))
    return {
        key: float(np.searchsorted(ordered, score, side="right") / ordered.size)
        for key, score in scores.items()
    }


def _key(path: Path) -> tuple[str, str]:
    """Kind folder and id of the image that a map is of."""
    return path.parent.name, path.stem


def _highest(path: Path) -> float:
    return float(read_map(path).max())


def _map_of(maps: Path, image: str) -> Path:
    return (maps / image).with_suffix(".tiff")


def _threshold(maps: Path, quantile: float) -> float:
    good = sorted((maps / "test" / "good").glob("*.tiff"))
    if not good:
        raise AnnotationError(f"{maps}: expected maps of good test images, found none")
    scores = np.concatenate([read_map(path).ravel() for path in good])
    return float(np.quantile(scores, quantile))


def _pieces(mask: Mask) -> tuple[Mask, ...]:
    """The largest connected pieces, the largest first."""
    smallest = max(1.0, mask.size * _SMALLEST_SHARE)
    pieces = [piece for piece in mask_to_shape.blobs(mask) if np.count_nonzero(piece) >= smallest]
    return tuple(sorted(pieces, key=np.count_nonzero, reverse=True)[:_MOST_REGIONS])
