"""Settings of the executors: `[executor]` of a suite's TOML, and options of the command line."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from loco_tools.schema import Schema


class LocalSettings(Schema):
    """Processes of this machine: one per GPU; on a CPU one, or as many as `workers` says.

    The machine's CPU threads are divided among them. With `workers = 0` cells run in the process
    of the run itself, for debuggers: a crash then ends the run.
    """

    kind: Literal["local"] = "local"
    workers: NonNegativeInt | None = None


class RaySettings(Schema):
    """An existing Ray cluster; every cell is one of its tasks.

    `data = "path"`: the classes and the run's folder lie at the same path on every node.
    `data = "object-store"`: class and members travel to the cell and its folder comes back, through
    Ray's object store; nothing has to be shared.
    """

    kind: Literal["ray"] = "ray"
    address: str = "auto"
    """"auto" (the cluster that this machine is part of), "HOST:6379", or "ray://HOST:10001"."""
    workers: PositiveInt | None = None
    """Cells at once; None: as many as the cluster has resources for."""
    cpus: PositiveFloat = 1
    gpus: NonNegativeFloat = 0
    """Per cell; 0.5 lets two cells share one."""
    memory_mb: PositiveInt | None = None
    """Per cell; Ray then starts only as many on a node as fit."""
    data: Literal["path", "object-store"] = "path"
    retries: NonNegativeInt = 3
    """How often a cell is begun again because its node died."""
    node_death_s: PositiveFloat = 20
    """How long Ray may take to notice that a node has died."""
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Ray: `env_vars`, `working_dir`, `pip`..."""


class SlurmSettings(Schema):
    """Arrays of SLURM jobs, one job per cell; the run's folder lies at the same path on every node.

    A cell that is preempted, or reaches its time limit, is put back into the queue and goes on
    with its training where it was.
    """

    kind: Literal["slurm"] = "slurm"
    cluster: Literal["slurm", "local"] = "slurm"
    """"local": submitit's stand-in, processes of this machine, to try things without SLURM."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time_min: PositiveInt = 240
    """Of one cell; when it is over, the cell is put back into the queue."""
    cpus: PositiveInt = 4
    gpus: NonNegativeInt = 0
    memory_mb: PositiveInt | None = None
    workers: PositiveInt | None = None
    """Cells of one array at once; None: as many as SLURM has room for."""
    requeues: NonNegativeInt = 3
    """How often a cell that reached its time limit is put back; preemption counts nothing."""
    poll_s: PositiveFloat = 5
    """Between two questions to SLURM."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Further options of sbatch by their long names: `{exclude = "node7"}`."""
    setup: tuple[str, ...] = ()
    """Shell commands before each cell, such as "module load cuda"."""


ExecutorSettings = LocalSettings | RaySettings | SlurmSettings
AnyExecutor = Annotated[ExecutorSettings, Field(discriminator="kind")]


def with_options(base: ExecutorSettings, options: dict[str, Any]) -> dict[str, Any]:
    """The settings of an executor with some changed, as plain data.

    Args:
        base: what a suite says; forgotten when `options` name another kind.
        options: fields by name, `kind` among them or not.
    """
    kind = options.get("kind", base.kind)
    kept = base.model_dump(exclude_defaults=True) if kind == base.kind else {}
    return {**kept, **options, "kind": kind}
