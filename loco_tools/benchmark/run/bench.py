"""The benchmark in one call: options become a suite, and the suite is run.

The command `loco-tools bench` and `loco_tools.bench` share what is here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loco_tools import extras
from loco_tools.benchmark.executor_settings import ExecutorSettings
from loco_tools.benchmark.run.runner import RunReport, run
from loco_tools.benchmark.suite import (
    MethodEntry,
    Preset,
    Suite,
    load_suite,
    with_executor,
    with_settings,
)
from loco_tools.datasets import find_classes
from loco_tools.errors import BenchmarkError, DatasetError
from loco_tools.methods import Resize
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import parse


def bench(
    data: Path | str | Sequence[Path | str] = (),
    methods: Sequence[str | MethodEntry] | None = None,
    *,
    suite: Suite | Path | str | None = None,
    out: Path | str | None = None,
    classes: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    preset: Preset | None = None,
    backbone: str | None = None,
    weights: Path | str | None = None,
    input_size_px: int | None = None,
    resize: Resize | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    maps: bool = False,
    executor: ExecutorSettings | Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    despite_findings: bool = False,
    progress: Progress = SILENT,
) -> RunReport:
    """Compare anomaly detectors on dataset classes.

    Every method is fitted and evaluated on every class with every seed. Finished cells of an
    earlier call with the same `out` are reused. Options that are None keep what the suite says.

    Args:
        data: class folders, or folders of classes; by default the folder `data`.
        methods: names such as "patchcore" or "ensemble" (see `loco_tools.methods.METHODS` and
            `loco_tools.ensembles.ENSEMBLES`), or "package.module:Class" for your own detector.
        suite: a suite, its name, or the path of its TOML file, in place of `methods`.
        out: the run's folder; by default `runs/<name of the suite>`, `runs/bench` without a suite.
        classes: names of the classes to use; by default all that are in `data`.
        seeds: random seeds; by default 0 alone.
        preset: "paper" (published settings) or "fast"; by default "fast" on a CPU.
        backbone: "scattering", "dictionary" or a torchvision classifier.
        weights: a file with the backbone's weights (a state dict).
        input_size_px: shorter side of the detector's input in pixels.
        resize: "keep" the aspect ratio, "square", or "area" (the aspect ratio is kept, with as many
            pixels as the square has).
        device: "auto", "cpu", "cuda" or "cuda:1".
        settings: changes to a method's or the executor's settings, for example
            `{"patchcore.coreset_ratio": 0.2}`.
        maps: whether anomaly maps are kept under `out/maps`.
        executor: where cells are run, for example `{"kind": "local", "workers": 2}`; by default
            worker processes on this machine.
        retry_failed: whether cells that failed in an earlier call are run again.
        despite_findings: whether classes are benchmarked in spite of faults that change or prevent
            their metrics, such as lossy masks or an image in two splits.
        progress: receives progress and messages; silent by default.

    Returns:
        The records of all cells; `results_csv` is the path of the table. Write the HTML report with
        `loco_tools.benchmark.report.write_report(out)`.

    Raises:
        LocoToolsError: the data, a method or a setting cannot be used; nothing has been fitted.
        MissingExtraError: the extra `bench` is not installed.
        BenchmarkError: the disk is full, or another process is using `out`.

    Examples:
        >>> import loco_tools
        >>> report = loco_tools.bench("data", ["patchcore", "simplenet"])  # doctest: +SKIP
        >>> report.records[0].metric("image_auroc_mean")  # doctest: +SKIP
    """
    extras.require("A benchmark", "bench")
    options = {
        "classes": classes,
        "seeds": seeds,
        "preset": preset,
        "backbone": backbone,
        "weights": weights,
        "input_size_px": input_size_px,
        "resize": resize,
        "device": device,
        "maps": maps or None,
    }
    if isinstance(executor, ExecutorSettings):
        executor = executor.model_dump()
    chosen = make_suite(
        methods, suite, options, executor=executor, settings=settings, origin="bench"
    )
    folder = Path("runs") / chosen.name if out is None else Path(out)
    roots = [data] if isinstance(data, Path | str) else data
    return run(
        chosen,
        find_class_paths(roots),
        folder,
        progress,
        retry_failed=retry_failed,
        despite_findings=despite_findings,
    )


def make_suite(
    methods: Sequence[str | MethodEntry] | None,
    suite: Suite | Path | str | None,
    options: Mapping[str, Any],
    *,
    executor: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    origin: str,
) -> Suite:
    """The suite that options ask for; they replace what the suite's file says.

    Args:
        methods: as for `bench`.
        suite: as for `bench`.
        options: fields of `Suite`; those that are None are left out.
        executor: fields of the executor's settings.
        settings: "method.field" or "executor.field" -> value.
        origin: opens the messages about wrong options.

    Raises:
        BenchmarkError: both or neither of `methods` and `suite`, or settings of an unknown method.
        DefinitionError: an unknown suite or field, or a value that does not fit.
    """
    if (methods is None) == (suite is None):
        raise BenchmarkError(f"{origin}: expected methods or a suite, got both or neither")
    chosen = {name: value for name, value in options.items() if value is not None}
    if "weights" in chosen:
        chosen["weights"] = str(chosen["weights"])
    if methods is not None:
        chosen["methods"] = tuple(methods)
    elif suite is not None:
        base = suite if isinstance(suite, Suite) else load_suite(str(suite))
        chosen = {**base.model_dump(by_alias=True), **chosen}
    return with_settings(
        with_executor(parse(Suite, chosen, origin=origin), executor or {}), settings or {}
    )


def find_class_paths(roots: Sequence[Path | str]) -> list[Path]:
    """The class folders in `roots`; those in the folder `data` if `roots` is empty.

    Raises:
        DatasetError: a folder is missing or holds no class.
    """
    if not roots and not Path("data").is_dir():
        raise DatasetError(
            "expected dataset classes in the folder data, got no such folder; next step: name "
            "another folder with --data, or make one with loco-tools capture, label and convert"
        )
    return [path for root in roots or ("data",) for path in find_classes(root)]
