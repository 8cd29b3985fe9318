"""Other tools that a run's results can be passed on to: MLflow and TensorBoard.

A sink reads the run's folder alone, so it works for finished, unfinished and crashed runs of any
executor, and again at any time: what it has passed on before is left as it is.
"""

from dataclasses import dataclass
from pathlib import Path

from loco_tools import extras
from loco_tools.progress import SILENT, Progress

TENSORBOARD_FOLDER = "tensorboard"
"""In the run's folder, where no other one is named."""


@dataclass(frozen=True)
class Sinks:
    """Where results go beside the run's folder; None: not there.

    `mlflow` is a tracking URI, such as "sqlite:///runs.db" or "http://127.0.0.1:5000".
    `tensorboard` is a folder; Path() stands for one in the run's folder.
    """

    mlflow: str | None = None
    tensorboard: Path | None = None

    def check(self) -> None:
        """Find what stands in the way before anything is run.

        Raises:
            MissingExtraError: an extra is missing.
            BenchmarkError: the tracking URI is none.
        """
        if self.mlflow is not None:
            from loco_tools.benchmark.sinks.tracking import check_uri

            extras.require("--mlflow", "mlflow")
            check_uri(self.mlflow)
        if self.tensorboard is not None:
            extras.require("--tensorboard", "tensorboard")

    def fill(self, out: Path, progress: Progress = SILENT) -> list[str]:
        """Pass on what the cells of a run have kept so far; a line per sink says what was done.

        Raises:
            BenchmarkError: no run there, or a sink cannot take it. The run's folder is as it was.
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
