"""Taking all shots of a plan without an operator."""

from pathlib import Path

from loco_tools.capture.guide import Guide, open_guide
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.errors import CaptureError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural


def capture(
    request: SessionRequest,
    *,
    keep_failing: bool = False,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Take every shot of the plan that the session still lacks.

    A simulated shot that fails a quality gate is kept and recorded in the journal, since nobody
    can move a part of the twin. A real one stops the session unless `keep_failing` is set.

    Args:
        request: what to photograph, with which camera, into which session.
        keep_failing: also keep the shots of real cameras that fail a gate.
        limit: take at most this many shots now; another call continues after them.
        progress: receives progress and notes.

    Returns:
        The session's folder, `captures/<class>/<session>`.

    Raises:
        CaptureError: see `open_guide` and `Guide.shoot`; or a real shot fails a gate.
    """
    with open_guide(request) as guide:
        announce(guide, progress)
        take_missing_shots(guide, keep_failing=keep_failing, limit=limit, progress=progress)
        return guide.folder


def announce(guide: Guide, progress: Progress) -> None:
    """Report the session, its camera, and how many shots it has already."""
    record, far = guide.record, guide.progress()
    source = "SIMULATED by the digital twin" if record.simulated else record.camera.identity
    begun = f", continues after {far.done}" if far.done else ""
    progress.note(
        f"{record.name}: {plural(far.planned, 'shot')}, {source}{begun} -> {guide.folder}"
    )
    if guide.camera.caution:
        progress.note(guide.camera.caution)


def take_missing_shots(
    guide: Guide,
    *,
    keep_failing: bool = False,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> int:
    """Take and accept shots until none is open, or until `limit` shots are taken.

    Returns:
        The number of shots that failed a quality gate and were kept.

    Raises:
        CaptureError: see `Guide.shoot`; or a real shot fails a gate.
    """
    taken, failing, far = 0, 0, guide.progress()
    with progress.task(f"capture {guide.record.name}", far.planned) as advance:
        advance(far.done + far.skipped)
        while guide.current is not None and taken != limit:
            candidate = guide.shoot()
            if candidate.failed and not (keep_failing or guide.record.simulated):
                raise CaptureError(
                    f"{guide.folder}: {candidate.shot.shot} fails: {candidate.fault}; next step: "
                    "do that and run the command again, or keep such shots with --keep-failing"
                )
            failing += not candidate.passed
            guide.accept(override=True, by="unattended")
            taken += 1
            advance(1)
    if failing:
        progress.note(
            f"{plural(failing, 'shot')} with failed quality gates kept; the journal names the gates"
        )
    return failing
