"""Settings of executors: `[executor]` in a suite's TOML, and options of the command line."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from loco_tools.schema import Schema


class LocalSettings(Schema):
    """Worker processes on this machine, which share its CPU threads.

    `workers` is their number; by default there is one per GPU, or one on a CPU. With `workers = 0`
    cells run in the process of the run itself, which suits debuggers; a crash then ends the run.
    """

    kind: Literal["local"] = "local"
    workers: NonNegativeInt | None = None


class RaySettings(Schema):
    """An existing Ray cluster; every cell is one of its tasks.

    With `data = "path"` the classes and the run's folder must have the same path on every node.
    With `data = "object-store"` Ray's object store transfers the class and the members to the node
    and the cell's folder back; no disk has to be shared.
    """

    kind: Literal["ray"] = "ray"
    address: str = "auto"
    """"auto" (the cluster that this machine is part of), "HOST:6379", or "ray://HOST:10001"."""
    workers: PositiveInt | None = None
    """Cells that run at once; None: as many as the cluster has resources for."""
    cpus: PositiveFloat = 1
    gpus: NonNegativeFloat = 0
    """GPUs per cell; with 0.5 two cells share one."""
    memory_mb: PositiveInt | None = None
    """Memory per cell; Ray then starts only as many cells on a node as fit."""
    data: Literal["path", "object-store"] = "path"
    retries: NonNegativeInt = 3
    """How often a cell is restarted because its node died."""
    node_death_s: PositiveFloat = 20
    """Time within which Ray notices that a node has died."""
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Ray, for example `env_vars`, `working_dir` or `pip`."""


class SlurmSettings(Schema):
    """Arrays of SLURM jobs, one job per cell.

    The run's folder must have the same path on every node. A cell that is preempted or reaches its
    time limit is requeued and resumes its training.
    """

    kind: Literal["slurm"] = "slurm"
    cluster: Literal["slurm", "local"] = "slurm"
    """"local": processes of this machine, with which submitit imitates SLURM, to try things out."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time_min: PositiveInt = 240
    """Time limit of one cell, after which it is requeued."""
    cpus: PositiveInt = 4
    gpus: NonNegativeInt = 0
    memory_mb: PositiveInt | None = None
    workers: PositiveInt | None = None
    """Cells of one array that run at once; None: as many as SLURM has room for."""
    requeues: NonNegativeInt = 3
    """How often a cell is requeued at its time limit; preemptions do not count."""
    poll_s: PositiveFloat = 5
    """Time between two queries of the job states."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Further options of sbatch by their long names, such as `{exclude = "node7"}`."""
    setup: tuple[str, ...] = ()
    """Shell commands that run before each cell, such as "module load cuda"."""


ExecutorSettings = LocalSettings | RaySettings | SlurmSettings
AnyExecutor = Annotated[ExecutorSettings, Field(discriminator="kind")]


def with_options(base: ExecutorSettings, options: dict[str, Any]) -> dict[str, Any]:
    """The settings of an executor with some changed, as plain data.

    Args:
        base: settings of the suite; ignored when `options` name another kind.
        options: fields by name; these may include `kind`.
    """
    kind = options.get("kind", base.kind)
    kept = base.model_dump(exclude_defaults=True) if kind == base.kind else {}
    return {**kept, **options, "kind": kind}
