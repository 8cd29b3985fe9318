"""Sinks: other tools to which the results of a run are exported (MLflow and TensorBoard).

A sink reads nothing but the run's folder. So it works for finished, unfinished and crashed runs of
every executor, and it can be repeated: results that it exported before are left as they are.
"""

from dataclasses import dataclass
from pathlib import Path

from loco_tools import extras
from loco_tools.progress import SILENT, Progress

TENSORBOARD_FOLDER = "tensorboard"
"""Folder for event files in the run's folder, unless another one is named."""


@dataclass(frozen=True)
class Sinks:
    """The sinks of a run; None means that a sink is not used.

    Attributes:
        mlflow: a tracking URI, such as "sqlite:///runs.db" or "http://127.0.0.1:5000".
        tensorboard: a folder for event files; Path() stands for `TENSORBOARD_FOLDER`.
    """

    mlflow: str | None = None
    tensorboard: Path | None = None

    def check(self) -> None:
        """Check the sinks before anything is run.

        Raises:
            MissingExtraError: an extra is missing.
            BenchmarkError: the tracking URI is malformed.
        """
        if self.mlflow is not None:
            from loco_tools.benchmark.sinks.tracking import check_uri

            extras.require("--mlflow", "mlflow")
            check_uri(self.mlflow)
        if self.tensorboard is not None:
            extras.require("--tensorboard", "tensorboard")

    def fill(self, out: Path, progress: Progress = SILENT) -> list[str]:
        """Export the cells that have ended so far; the result is a line for a person per sink.

        Raises:
            BenchmarkError: `out` holds no run, or a sink fails. The run's folder is unchanged.
        """
        self.check()
        done = []
        if self.mlflow is not None:
            from loco_tools.benchmark.sinks.tracking import track

            done.append(f"MLflow: {track(out, self.mlflow, progress)} in {self.mlflow}")
        if self.tensorboard is not None:
            from loco_tools.benchmark.sinks.event_files import write_events

            named = self.tensorboard != Path()
            folder = self.tensorboard if named else out / TENSORBOARD_FOLDER
            done.append(f"TensorBoard: {write_events(out, folder, progress)} in {folder}")
        return done
