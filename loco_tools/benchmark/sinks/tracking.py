"""MLflow: one parent run per benchmark, and in it one nested run per cell.

The run's folder is mirrored. The parent run is identified by the run's identity, a nested run by
method, class and seed. The digest of the cell is set last as a tag: a nested run without it was
interrupted, and is replaced like a nested run of an older result.
"""

import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from loco_tools import files
from loco_tools.benchmark.run.results_csv import RESULTS_FILE
from loco_tools.benchmark.run.runner import RUN_FILE, Run, read_run
from loco_tools.benchmark.sinks.ended_cells import EndedCell, ended_cells, sanitize, summarize
from loco_tools.errors import BenchmarkError, LocoToolsError
from loco_tools.progress import SILENT, Progress

IDENTITY_FILE = "identity.txt"
"""File in the run's folder that identifies its parent run, also when the folder is moved."""

ARTEFACTS = ("result.json", "scores.csv")
"""Files of a cell that are copied to its nested run."""

_RUN, _CELL, _DIGEST = "loco_tools.run", "loco_tools.cell", "loco_tools.mark"
_PARENT, _NOTE = "mlflow.parentRunId", "mlflow.note.content"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Without this tag MLflow's page opens on language models instead of on training runs."""
_MOST_CHARACTERS = 5000
_METRICS_AT_ONCE = 500
_PARAMS_AT_ONCE = 100
_SCHEMES = r"(sqlite:///.|https?://.|(postgresql|mysql|mssql)(\+\w+)?://.)"
_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Defaults of environment variables: little output, and no long waiting for a server."""


def check_uri(uri: str) -> None:
    """Raise a BenchmarkError when `uri` is no tracking URI, or contains a password."""
    if re.search(r"//[^/@]*:[^/@]*@", uri):
        raise BenchmarkError(
            "--mlflow: expected a tracking URI without a password, because run.json records it; "
            "next step: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    if not re.match(_SCHEMES, uri):
        raise BenchmarkError(
            f"--mlflow {uri}: expected a tracking URI such as sqlite:///runs.db (a file here), "
            "sqlite:////home/me/runs.db or http://127.0.0.1:5000"
        )


def track(out: Path, uri: str, progress: Progress = SILENT) -> str:
    """Mirror a run into an MLflow store.

    The experiment has the name of the suite. A nested run has the stamp and the configuration as
    parameters, metrics and costs as metrics, training curves as metrics over steps under
    "training/", and the files `ARTEFACTS`. Nothing else leaves the machine: MLflow's usage reports
    are disabled.

    Args:
        out: the run's folder, in which `IDENTITY_FILE` is written.
        uri: of the store; an SQLite file is created when needed, with its artefacts next to it.
        progress: advances by one per cell.

    Returns:
        What was done, for a person.

    Raises:
        BenchmarkError: `out` holds no run, or the store cannot be reached or written.
    """
    check_uri(uri)
    run = read_run(out)
    cells = ended_cells(out, run)
    with FileLock(out / f".{IDENTITY_FILE}.lock"), _convert_errors(out, uri):
        identity = out / IDENTITY_FILE
        if not identity.is_file():  # written before anything is sent, so that nothing is doubled
            files.write_text(identity, uuid.uuid4().hex + "\n")
        store = _Store.open(uri, run.suite.name)
        parent = store.parent(identity.read_text(encoding="utf-8").strip(), out, run, cells)
        known = store.nested(parent)
        written = 0
        with progress.task("MLflow", len(cells)) as advance:
            for cell in cells:
                written += store.mirror(cell, parent, known.get(str(cell.record.cell), []))
                advance(1)
        store.finish(parent, run, cells)
    return summarize(written, len(cells))


@dataclass(frozen=True)
class _Store:
    """An experiment of an MLflow store."""

    client: Any
    experiment: str

    @classmethod
    def open(cls, uri: str, name: str) -> "_Store":
        """The experiment of that name, created when needed."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow would report its use
        for variable, value in _QUIET.items():  # before MLflow is imported, which reads them
            os.environ.setdefault(variable, value)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow.tracking import MlflowClient

        artefacts = None
        if uri.startswith("sqlite:///"):
            database = Path(uri.removeprefix("sqlite:///").partition("?")[0]).resolve()
            database.parent.mkdir(parents=True, exist_ok=True)
            artefacts = (database.parent / f"{database.stem}-artifacts").as_uri()
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        if experiment is not None:
            return cls(client, experiment.experiment_id)
        return cls(client, client.create_experiment(name, artefacts, tags=_KIND))

    def parent(self, identity: str, out: Path, run: Run, cells: Sequence[EndedCell]) -> str:
        """Create or update the run of the whole benchmark; its id."""
        from mlflow.entities import RunTag

        known = [one.info.run_id for one in self._search(f"tags.`{_RUN}` = '{identity}'")]
        tags = {_RUN: identity, _NOTE: run.suite.about, "command": run.command}
        tags |= {f"hardware/{sanitize(key)}": value for key, value in run.hardware.items()}
        tags |= {f"version/{sanitize(key)}": value for key, value in run.versions.items()}
        finished = sum(cell.record.status == "ok" for cell in cells)
        failed = len(cells) - finished
        tags |= {"cells": f"{finished} of {len(run.cells)} finished, {failed} failed"}
        name, started_ms = out.resolve().name, _milliseconds(run.started)
        parent = known[0] if known else self._create(name, {_RUN: identity}, started_ms)
        entries = [RunTag(key, value[:_MOST_CHARACTERS]) for key, value in tags.items() if value]
        self.client.log_batch(parent, tags=entries)
        for path in (out / RUN_FILE, out / RESULTS_FILE, out / "report.html"):
            if path.is_file():
                self.client.log_artifact(parent, str(path))
        return parent

    def nested(self, parent: str) -> dict[str, list[tuple[str, str]]]:
        """Id and digest of every nested run, by cell."""
        runs: dict[str, list[tuple[str, str]]] = {}
        for one in self._search(f"tags.`{_PARENT}` = '{parent}'"):
            cell, digest = (one.data.tags.get(tag, "") for tag in (_CELL, _DIGEST))
            runs.setdefault(cell, []).append((one.info.run_id, digest))
        return runs

    def mirror(self, cell: EndedCell, parent: str, known: Sequence[tuple[str, str]]) -> bool:
        """Write a cell unless it is up to date; whether it was written."""
        current = [run_id for run_id, digest in known if digest == cell.digest]
        for run_id, _digest in known:
            if run_id not in current[:1]:
                self.client.delete_run(run_id)
        if current:
            return False
        from mlflow.entities import Metric, Param

        stamp, ended_ms = cell.record.stamp, int(1000 * cell.ended_s)
        name = f"{stamp.method} {stamp.class_name} {stamp.seed}"
        tags = {_PARENT: parent, _CELL: str(cell.record.cell), "error": cell.record.error}
        run_id = self._create(name, tags, start_ms=ended_ms - int(1000 * cell.took_s))
        params = [Param(sanitize(k), v[:_MOST_CHARACTERS]) for k, v in _params(cell).items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self.client.log_batch(run_id, params=params[start : start + _PARAMS_AT_ONCE])
        metrics = [Metric(*point) for point in _metric_points(cell, ended_ms)]
        for start in range(0, len(metrics), _METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])
        for path in (cell.folder / artefact for artefact in ARTEFACTS):
            if path.is_file():
                self.client.log_artifact(run_id, str(path))
        status = "FINISHED" if cell.record.status == "ok" else "FAILED"
        self.client.set_terminated(run_id, status, end_time=ended_ms)
        self.client.set_tag(run_id, _DIGEST, cell.digest)
        return True

    def finish(self, parent: str, run: Run, cells: Sequence[EndedCell]) -> None:
        """Set the status of the benchmark: running, finished, or failed in some cells."""
        failed = any(cell.record.status == "failed" for cell in cells)
        if run.finished:
            status = "FAILED" if failed else "FINISHED"
            self.client.set_terminated(parent, status, end_time=_milliseconds(run.finished))
        else:
            self.client.update_run(parent, "RUNNING")

    def _create(self, name: str, tags: Mapping[str, str], start_ms: int | None = None) -> str:
        kept = {key: value[:_MOST_CHARACTERS] for key, value in tags.items() if value}
        made = self.client.create_run(self.experiment, start_ms, kept, run_name=name)
        run_id: str = made.info.run_id
        return run_id

    def _search(self, text: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], text, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _milliseconds(moment: str) -> int | None:
    """Milliseconds since 1970; None for an empty string."""
    return int(1000 * datetime.fromisoformat(moment).timestamp()) if moment else None


def _params(cell: EndedCell) -> dict[str, str]:
    """The stamp and the configuration, flattened: `versions/torch`, `config/size_px`."""
    stamp = cell.record.stamp.model_dump(mode="json")
    params = {"key": cell.record.key}
    for group, content in (*stamp.items(), ("config", cell.record.config)):
        nested = content if isinstance(content, dict) else {"": content}
        for name, value in nested.items():
            params[f"{group}/{name}".rstrip("/")] = str(value)
    return params


def _metric_points(cell: EndedCell, ended_ms: int) -> list[tuple[str, float, int, int]]:
    """Name, value, time and step of every metric and of every point of the training curves."""
    points = [(sanitize(name), value, ended_ms, 0) for name, value in cell.metrics.items()]
    for curve in cell.curves:
        name = f"training/{sanitize(curve.name)}"
        points += [(name, y, ended_ms, int(x)) for x, y in zip(curve.x, curve.y, strict=True)]
    return points


@contextmanager
def _convert_errors(out: Path, uri: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or its network raises into a BenchmarkError."""
    try:
        yield
    except LocoToolsError:
        raise
    except Exception as error:  # whatever MLflow, its database or its network raises
        text = " ".join(str(error).split()).partition(" [SQL:")[0][:200]
        raise BenchmarkError(
            f"MLflow at {uri} cannot take the run ({type(error).__name__}: {text}); the results "
            f"are complete in {out}; next step: check that the store can be reached and is not in "
            f"use, then run loco-tools report {out} --mlflow {uri}"
        ) from error
