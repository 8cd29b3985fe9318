"""Taking the shots of a plan without anybody watching."""

from pathlib import Path

from loco_tools.capture.guide import Candidate, Guide, open_guide
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan
from loco_tools.progress import SILENT, Progress


def capture(
    plan: Plan,
    *,
    camera: str = "twin",
    captures: Path = Path("captures"),
    session: str | None = None,
    new: bool = False,
    seed: int = 0,
    calibration: Path | None = None,
    skipped: bool = False,
    keep_failing: bool = False,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Take every shot of the plan that its session still lacks.

    A simulated shot that fails a quality gate is kept, and the journal says so: nobody can move a
    part of the twin. A real one stops the session, unless `keep_failing` is set.

    Args:
        plan: what to photograph.
        camera: as `--camera` takes it.
        captures: folder of all sessions.
        session: name of the session to begin or to go on with.
        new: begin a new session even if one is unfinished.
        seed: of the parts that the twin renders; real cameras ignore it.
        calibration: see `open_guide`.
        skipped: see `open_guide`.
        keep_failing: keep the shots of real cameras that fail a gate too.
        limit: take at most so many shots now; another call goes on after them.
        progress: where to report to.

    Returns:
        The session's folder, `captures/<class>/<session>`.

    Raises:
        CaptureError: see `open_guide` and `Guide.shoot`; or a real shot fails a gate.
    """
    with open_guide(
        plan,
        camera=camera,
        captures=captures,
        session=session,
        new=new,
        seed=seed,
        calibration=calibration,
        skipped=skipped,
    ) as guide:
        announce(guide, progress)
        take_missing_shots(guide, keep_failing=keep_failing, limit=limit, progress=progress)
        return guide.folder


def announce(guide: Guide, progress: Progress) -> None:
    """Say what the session is, who takes it, and where it goes on."""
    record, far = guide.record, guide.progress()
    source = "SIMULATED by the digital twin" if record.simulated else record.camera.identity
    begun = f", going on after {far.done}" if far.done else ""
    progress.note(f"{record.name}: {far.planned} shots, {source}{begun} -> {guide.folder}")
    if guide.camera.caution:
        progress.note(guide.camera.caution)


def take_missing_shots(
    guide: Guide,
    *,
    keep_failing: bool = False,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> int:
    """Shoot and accept until nothing is open, or `limit` shots are taken; see `capture`.

    Returns:
        How many of the shots fail a quality gate.

    Raises:
        CaptureError: see `Guide.shoot`; or a real shot fails a gate.
    """
    taken, failing, far = 0, 0, guide.progress()
    with progress.task(f"capture {guide.record.name}", far.planned) as advance:
        advance(far.done + far.skipped)
        while guide.current is not None and taken != limit:
            candidate = guide.shoot()
            if candidate.failed and not (keep_failing or guide.record.simulated):
                raise _fails(guide, candidate)
            failing += not candidate.passed
            guide.accept(override=True, by="unattended")
            taken += 1
            advance(1)
    if failing:
        progress.note(
            f"{failing} shots fail a quality gate and were kept; the journal says which and why"
        )
    return failing


def _fails(guide: Guide, candidate: Candidate) -> CaptureError:
    words = "; ".join(verdict.words for verdict in candidate.failed)
    return CaptureError(
        f"{guide.folder}: {candidate.shot.shot} fails: {words}; next step: do so and run the "
        "command again, or keep such shots with --keep-failing"
    )
