"""Which of Mitsuba's variants renders: LLVM's compiled one where it works, else the scalar one.

LLVM's is about twice as fast, but needs a recent LLVM library on the machine (Debian and Ubuntu:
`apt install libllvm19`; its place can be given in DRJIT_LIBLLVM_PATH). With an old one it aborts
the whole process, so it is tried once in a process of its own, and the outcome is kept under the
user's cache folder until Mitsuba, the machine or its LLVM libraries change.

The same arguments give the same bytes within one variant only, so a session records its variant.
LOCO_TOOLS_TWIN_VARIANT=scalar_rgb (or llvm_ad_rgb) chooses one without a trial.
"""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from loco_tools import files
from loco_tools.errors import DefinitionError, did_you_mean

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
    """The name of the variant that renders on this machine.

    Blocks up to three minutes the first time on a machine, while LLVM compiles for the trial.

    Raises:
        DefinitionError: LOCO_TOOLS_TWIN_VARIANT is set to something else.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return _remembered()
    if wanted not in (SCALAR, COMPILED):
        raise DefinitionError(
            f'{VARIABLE}="{wanted}": unknown; {did_you_mean(wanted, (SCALAR, COMPILED))}'
        )
    return wanted


@lru_cache(maxsize=1)
def _remembered() -> str:
    place = _cache_folder() / f"twin-variant-{_machine()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(place.read_text(encoding="utf-8"))["variant"]
        if found in (SCALAR, COMPILED):
            return str(found)
    compiled, words = _trial()
    chosen = COMPILED if compiled else SCALAR
    # where no cache can be kept, the next process tries again
    with contextlib.suppress(OSError):
        files.write_json(place, {"variant": chosen, "trial": words})
    return chosen


def _trial() -> tuple[bool, str]:
    """Whether the compiled variant renders, tried where a crash harms nobody; and what it said."""
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
    said = done.stderr.decode("utf-8", "replace").strip()
    return done.returncode == 0, f"exit code {done.returncode}" + (
        f": {said[:500]}" if said else ""
    )


def _machine() -> str:
    """A short name of everything that the outcome of the trial depends on."""
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


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(given) if given else Path.home() / ".cache") / "loco-tools"
