"""The choice of Mitsuba's variant: the one compiled by LLVM where it works, else the scalar one.

LLVM's variant is about twice as fast, but needs a recent LLVM library (Debian and Ubuntu: `apt
install libllvm19`; DRJIT_LIBLLVM_PATH can give its path). With an old library it aborts the whole
process, so it is tried once in a separate process, and the outcome is kept in the user's cache
folder until Mitsuba, the machine or its LLVM libraries change.

The same arguments give the same bytes within one variant only, so a session records its variant.
LOCO_TOOLS_TWIN_VARIANT=scalar_rgb (or llvm_ad_rgb) selects a variant without a trial.
"""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from loco_tools import files
from loco_tools.errors import DefinitionError, did_you_mean
from loco_tools.schema import loads_json

SCALAR = "scalar_rgb"
COMPILED = "llvm_ad_rgb"
VARIABLE = "LOCO_TOOLS_TWIN_VARIANT"

_TRIAL_S = 180.0
_TRIAL = """
from loco_tools import twin
from loco_tools.plan import load_plan
plan = load_plan("composite_part")
camera = plan.camera.model_copy(update={"width_px": 48, "height_px": 30})
plan = plan.model_copy(update={"camera": camera})
first, second = (twin.render(plan, 1, "scratch", "top") for _ in range(2))
if not first.image.any() or first.image.tobytes() != second.image.tobytes():
    raise SystemExit("the same arguments did not give the same bytes")
"""
_LIBRARIES = {
    "/usr": ("lib/*/libLLVM*", "lib/llvm-*/lib/libLLVM*", "lib64/libLLVM*", "local/lib/libLLVM*"),
    "/opt": ("homebrew/opt/llvm*/lib/libLLVM*",),
}


def variant() -> str:
    """The name of the variant to use on this machine.

    The first call on a machine blocks for up to three minutes, while LLVM compiles for the trial.

    Raises:
        DefinitionError: LOCO_TOOLS_TWIN_VARIANT is set to an unknown variant.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return _choose_by_trial()
    if wanted not in (SCALAR, COMPILED):
        raise DefinitionError(
            f'{VARIABLE}="{wanted}": unknown; {did_you_mean(wanted, (SCALAR, COMPILED))}'
        )
    return wanted


@lru_cache(maxsize=1)
def _choose_by_trial() -> str:
    """The variant that the cache names, or else the outcome of a trial, which is then cached."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    cache_folder = (Path(cache) if cache else Path.home() / ".cache") / "loco-tools"
    path = cache_folder / f"twin-variant-{_machine_hash()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cached = loads_json(files.read_text(path))["variant"]
        if cached in (SCALAR, COMPILED):
            return str(cached)
    works, message = _try_compiled_variant()
    chosen = COMPILED if works else SCALAR
    # when the cache cannot be written, the next process tries again
    with contextlib.suppress(OSError):
        files.write_json(path, {"variant": chosen, "trial": message})
    return chosen


def _try_compiled_variant() -> tuple[bool, str]:
    """Whether the compiled variant works in a separate process, and the message of that process."""
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", _TRIAL],
            env={**os.environ, VARIABLE: COMPILED},
            capture_output=True,
            timeout=_TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)[:500]
    stderr = done.stderr.decode("utf-8", "replace").strip()
    message = f"exit code {done.returncode}" + (f": {stderr[:500]}" if stderr else "")
    return done.returncode == 0, message


def _machine_hash() -> str:
    """A short hash of everything that the outcome of the trial depends on."""
    libraries = sorted(
        str(path)
        for root, patterns in _LIBRARIES.items()
        for pattern in patterns
        for path in Path(root).glob(pattern)
    )
    facts = [
        version("mitsuba"),
        version("drjit"),
        version("loco-tools"),
        *platform.uname()[:2],
        platform.machine(),
        os.environ.get("DRJIT_LIBLLVM_PATH", ""),
        *libraries,
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
