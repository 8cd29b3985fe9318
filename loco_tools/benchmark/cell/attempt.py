"""One cell from beginning to end, whatever happens in it: what every executor runs."""

import errno
import gc
import sys
import traceback
from functools import cache
from typing import Any

from loco_tools.benchmark.cell.cost import versions
from loco_tools.benchmark.cell.hashes import code_behind
from loco_tools.benchmark.cell.record import CellRecord, write_failure
from loco_tools.benchmark.cell.work import Job, execute
from loco_tools.errors import BenchmarkError, LocoToolsError
from loco_tools.progress import SILENT, Progress


def attempt(job: Job, progress: Progress = SILENT) -> CellRecord:
    """Work on one cell; every fault but a full disk becomes its failed record.

    Raises:
        BenchmarkError: the disk is full.
    """
    try:
        _check_code(job)
        backbones = {title: source.load() for title, source in job.backbones.items()}
        return execute(job, backbones, progress)
    except Exception as error:
        if disk_is_full(error):
            raise BenchmarkError(
                f"{job.out}: the disk is full ({job.cell}); finished cells are kept and nothing "
                "is half-written; next step: make room and run the command again"
            ) from error
        known = isinstance(error, LocoToolsError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        trace = "" if known else traceback.format_exc()
        return write_failure(job.stamp, message, trace, job.out)
    finally:
        _free_memory()


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that there is no room left."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if "No space left on device" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _check_code(job: Job) -> None:
    """Refuse to work with other code or packages than the cell's key was made from."""
    here = _versions()
    for name, expected in job.stamp.versions.items():
        if here.get(name) != expected:
            raise BenchmarkError(
                f"expected {name} {expected} as where the run was started, got "
                f"{here.get(name, 'none')} here; next step: install the same versions everywhere"
            )
    if _code(job.method) != job.stamp.code_hash:
        raise BenchmarkError(
            f'the code of method "{job.method}" is another one here than where the run was '
            "started; next step: install the same loco-tools everywhere, or run the command again "
            "if the code has been changed meanwhile"
        )


@cache
def _versions() -> dict[str, str]:
    return versions()


@cache
def _code(method: str) -> str:
    return code_behind(method)


def _free_memory() -> None:
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
