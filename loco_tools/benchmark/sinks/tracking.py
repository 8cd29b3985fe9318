"""MLflow: one parent run per benchmark, and in it one nested run per cell.

What stands in the run's folder is mirrored. The parent is found again by the run's identity, a
nested run by method, class and seed. The mark of what a nested run was made from is set last: one
without it was interrupted, and is replaced like one of an older result.
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
from loco_tools.benchmark.sinks.kept_cells import KeptCell, kept_cells, safe, told
from loco_tools.errors import BenchmarkError, LocoToolsError
from loco_tools.progress import SILENT, Progress

IDENTITY_FILE = "identity.txt"
"""In the run's folder: what its parent run is found by, wherever the folder is moved."""

ARTEFACTS = ("result.json", "scores.csv")
"""Of a cell."""

_RUN, _CELL, _MARK = "loco_tools.run", "loco_tools.cell", "loco_tools.mark"
_PARENT, _NOTE = "mlflow.parentRunId", "mlflow.note.content"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's page opens on language models instead of on training runs."""
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
"""Unless the user says otherwise: no chatter, and no waiting for minutes for a server."""


def check_uri(uri: str) -> None:
    """Raise a BenchmarkError when it is no tracking URI, or would put a password into records."""
    if re.search(r"//[^/@]*:[^/@]*@", uri):
        raise BenchmarkError(
            "--mlflow: expected a tracking URI without a password, which would end up in run.json; "
            "next step: give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if not re.match(_SCHEMES, uri):
        raise BenchmarkError(
            f"--mlflow {uri}: expected a tracking URI such as sqlite:///runs.db (a file here), "
            "sqlite:////home/me/runs.db or http://127.0.0.1:5000"
        )


def track(out: Path, uri: str, progress: Progress = SILENT) -> str:
    """Mirror a run into an MLflow store.

    The experiment is named like the suite. A nested run has the stamp and the configuration as
    parameters, figures and cost as metrics, training curves as metrics over steps under
    "training/", and `ARTEFACTS`. Nothing else leaves the machine: MLflow's usage reports are off.

    Args:
        out: the run's folder; gets `IDENTITY_FILE`.
        uri: of the store; an SQLite file is made when needed, its artefacts lie beside it.
        progress: advances by one per cell.

    Returns:
        what was done, in words.

    Raises:
        BenchmarkError: no run there, or the store cannot be reached or written.
    """
    check_uri(uri)
    run = read_run(out)
    cells = kept_cells(out, run)
    with FileLock(out / f".{IDENTITY_FILE}.lock"), _explained(out, uri):
        store = _Store.open(uri, run.suite.name)
        parent = store.parent(_identity(out), out, run, cells)
        known = store.nested(parent)
        written = 0
        with progress.task("MLflow", len(cells)) as advance:
            for cell in cells:
                written += store.mirror(cell, parent, known.get(str(cell.record.cell), []))
                advance(1)
        store.finish(parent, run, cells)
    return told(written, len(cells))


@dataclass(frozen=True)
class _Store:
    """An experiment of an MLflow store."""

    client: Any
    experiment: str

    @classmethod
    def open(cls, uri: str, name: str) -> "_Store":
        """The experiment of that name, made when needed."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # else it reports its use to its makers
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
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        if found is not None:
            return cls(client, found.experiment_id)
        return cls(client, client.create_experiment(name, artefacts, tags=_KIND))

    def parent(self, identity: str, out: Path, run: Run, cells: Sequence[KeptCell]) -> str:
        """The id of the run that stands for the whole benchmark, brought up to date."""
        found = [one.info.run_id for one in self._search(f"tags.`{_RUN}` = '{identity}'")]
        tags = {_RUN: identity, _NOTE: run.suite.about, "command": run.command}
        tags |= {f"hardware/{safe(key)}": value for key, value in run.hardware.items()}
        tags |= {f"version/{safe(key)}": value for key, value in run.versions.items()}
        tags |= {"cells": _counted(run, cells)}
        title, started_ms = out.resolve().name, _milliseconds(run.started)
        parent = found[0] if found else self._create(title, {_RUN: identity}, started_ms)
        self._tag(parent, tags)
        for name in (RUN_FILE, RESULTS_FILE, "report.html"):
            if (out / name).is_file():
                self.client.log_artifact(parent, str(out / name))
        return parent

    def nested(self, parent: str) -> dict[str, list[tuple[str, str]]]:
        """The id and the mark of every nested run, by cell."""
        found: dict[str, list[tuple[str, str]]] = {}
        for one in self._search(f"tags.`{_PARENT}` = '{parent}'"):
            cell, mark = (one.data.tags.get(tag, "") for tag in (_CELL, _MARK))
            found.setdefault(cell, []).append((one.info.run_id, mark))
        return found

    def mirror(self, cell: KeptCell, parent: str, known: Sequence[tuple[str, str]]) -> bool:
        """Write a cell unless it is there as it is; whether it was written."""
        current = [run_id for run_id, mark in known if mark == cell.mark]
        for run_id, _mark in known:
            if run_id not in current[:1]:
                self.client.delete_run(run_id)
        if not current:
            self._write(cell, parent)
        return not current

    def finish(self, parent: str, run: Run, cells: Sequence[KeptCell]) -> None:
        """Say how the benchmark stands: running, finished, or failed in some cells."""
        failed = any(cell.record.status == "failed" for cell in cells)
        if run.finished:
            over = "FAILED" if failed else "FINISHED"
            self.client.set_terminated(parent, over, end_time=_milliseconds(run.finished))
        else:
            self.client.update_run(parent, "RUNNING")

    def _write(self, cell: KeptCell, parent: str) -> None:
        record, ended_ms = cell.record, int(1000 * cell.ended_s)
        stamp = record.stamp
        title = f"{stamp.method} {stamp.class_name} {stamp.seed}"
        tags = {_PARENT: parent, _CELL: str(record.cell), "error": record.error}
        run_id = self._create(title, tags, start_ms=ended_ms - int(1000 * cell.took_s))
        self._log_params(run_id, _params(cell))
        self._log_metrics(run_id, _metrics(cell, ended_ms))
        for name in ARTEFACTS:
            if (cell.folder / name).is_file():
                self.client.log_artifact(run_id, str(cell.folder / name))
        over = "FINISHED" if record.status == "ok" else "FAILED"
        self.client.set_terminated(run_id, over, end_time=ended_ms)
        self.client.set_tag(run_id, _MARK, cell.mark)

    def _create(self, title: str, tags: Mapping[str, str], start_ms: int | None = None) -> str:
        kept = {key: value[:_MOST_CHARACTERS] for key, value in tags.items() if value}
        made = self.client.create_run(self.experiment, start_ms, kept, run_name=title)
        run_id: str = made.info.run_id
        return run_id

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(key, value[:_MOST_CHARACTERS]) for key, value in tags.items() if value]
        self.client.log_batch(run_id, tags=entries)

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entries = [Param(safe(key), value[:_MOST_CHARACTERS]) for key, value in params.items()]
        for start in range(0, len(entries), _PARAMS_AT_ONCE):
            self.client.log_batch(run_id, params=entries[start : start + _PARAMS_AT_ONCE])

    def _log_metrics(self, run_id: str, metrics: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        entries = [Metric(*one) for one in metrics]
        for start in range(0, len(entries), _METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics=entries[start : start + _METRICS_AT_ONCE])

    def _search(self, text: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], text, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _identity(out: Path) -> str:
    """What the run is known by; written before anything is sent, so that nothing is doubled."""
    path = out / IDENTITY_FILE
    if not path.is_file():
        files.write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


def _milliseconds(moment: str) -> int | None:
    """Since 1970; None where it is not known."""
    return int(1000 * datetime.fromisoformat(moment).timestamp()) if moment else None


def _counted(run: Run, cells: Sequence[KeptCell]) -> str:
    done = sum(cell.record.status == "ok" for cell in cells)
    return f"{done} of {len(run.cells)} finished, {len(cells) - done} failed"


def _params(cell: KeptCell) -> dict[str, str]:
    """The stamp and the configuration, flat: `versions/torch`, `config/size_px`."""
    stamp = cell.record.stamp.model_dump(mode="json")
    found = {"key": cell.record.key}
    for group, content in (*stamp.items(), ("config", cell.record.config)):
        nested = content if isinstance(content, dict) else {"": content}
        for name, value in nested.items():
            found[f"{group}/{name}".rstrip("/")] = str(value)
    return found


def _metrics(cell: KeptCell, ended_ms: int) -> list[tuple[str, float, int, int]]:
    """Name, value, time and step of every point."""
    found = [(safe(name), value, ended_ms, 0) for name, value in cell.figures.items()]
    for curve in cell.curves:
        name = f"training/{safe(curve.name)}"
        found += [(name, y, ended_ms, int(x)) for x, y in zip(curve.x, curve.y, strict=True)]
    return found


@contextmanager
def _explained(out: Path, uri: str) -> Iterator[None]:
    """What MLflow and its database raise, as one BenchmarkError; the results are on the disk."""
    try:
        yield
    except LocoToolsError:
        raise
    except Exception as error:  # whatever MLflow, its database or its network raises
        text = " ".join(str(error).split()).partition(" [SQL:")[0][:200]
        raise BenchmarkError(
            f"MLflow at {uri} cannot take the run ({type(error).__name__}: {text}); the results "
            f"are complete in {out}; next step: see that the store can be reached and is not in "
            f"use, then loco-tools report {out} --mlflow {uri}"
        ) from error
