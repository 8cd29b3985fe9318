"""Choosing the session that a capture begins or continues, and checking that it may continue."""

import datetime
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from loco_tools.capture.calibration.record import CameraCalibration
from loco_tools.capture.cameras import Camera
from loco_tools.capture.cameras.camera import differences
from loco_tools.capture.session import (
    JOURNAL,
    RECORD,
    CameraRecord,
    Session,
    list_sessions,
    next_number,
    progress_of,
    read_session,
    read_shots,
    remove_temporary_files,
    repair_journal,
    write_session,
)
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan


@dataclass(frozen=True)
class SessionRequest:
    """The session that a person or a script asks for: what to photograph, with which camera.

    Without `session`, the newest unfinished session of the class continues. A new one begins when
    there is none, or when `new` is set.

    Attributes:
        plan: what to photograph.
        camera: the camera, in the form that `--camera` takes.
        captures: the folder of all sessions.
        session: the name of the session to begin or to continue.
        new: begin a new session even if one is unfinished.
        seed: random seed of the parts that the twin renders; real cameras ignore it.
        calibration: a file written by `loco-tools calibrate camera` for this camera, which gives
            the scale. A session that has no calibration yet adopts it, whenever the session began.
        skipped: open the shots again that were skipped earlier.
    """

    plan: Plan
    camera: str = "twin"
    captures: Path = Path("captures")
    session: str | None = None
    new: bool = False
    seed: int = 0
    calibration: Path | None = None
    skipped: bool = False


class DriftError(CaptureError):
    """The camera no longer has the settings that the session began with."""


def choose_session(request: SessionRequest) -> Path:
    """The folder of the session to begin or to continue; it may not exist yet.

    Raises:
        CaptureError: the requested name is not a valid file name, or the request asks for a new
            session under a name that exists.
    """
    class_folder, name = request.captures / request.plan.name, request.session
    if name is not None:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise CaptureError(
                f'session "{name}": expected letters, digits, "-" and "_" only; next step: choose '
                "another name"
            )
        if request.new and (class_folder / name / RECORD).exists():
            raise CaptureError(
                f"{class_folder / name}: exists already; next step: choose another name"
            )
        return class_folder / name

    def is_unfinished(folder: Path) -> bool:
        progress = progress_of(folder)
        return not progress.finished or (request.skipped and progress.skipped > 0)

    known = list_sessions(class_folder)
    if known and not request.new:
        unfinished = [folder for folder in known if is_unfinished(folder)]
        if unfinished:
            return unfinished[-1]
        if read_session(known[-1]).plan == request.plan:
            return known[-1]
    taken = {path.name for path in known}
    names = (f"session-{number:03d}" for number in range(1, 10_000))
    return class_folder / next(name for name in names if name not in taken)


def open_session(
    folder: Path, plan: Plan, camera: Camera, seed: int, calibration: CameraCalibration | None
) -> Session:
    """Read the record of the session that a connected camera continues, or write a new one.

    Files that were left half-written when the session was killed are removed. A session that was
    begun without a calibration adopts the given one.

    Raises:
        CaptureError: camera, plan, seed, settings or calibration are not those that the session
            began with, the calibration does not fit the camera or the plan, or a replay does not
            hold one picture for each shot.
    """
    if calibration is not None:
        calibration.check_fits(plan, camera.identity)
    is_new = not (folder / RECORD).is_file()
    if is_new:
        if (folder / JOURNAL).is_file():
            raise CaptureError(
                f"{folder}: expected the {RECORD} of the shots in its journal, found none, so "
                "their camera and plan are unknown; next step: restore it from a copy, or begin "
                "another session with --session NAME"
            )
        record = _begin_session(folder, plan, camera, seed)
    else:
        record = read_session(folder)
        _refuse_other_conditions(folder, record, plan, camera, seed)
        repair_journal(folder)
        remove_temporary_files(folder)
        _refuse_lost_images(folder)
    camera.check_shots(list(plan.planned_shots()))
    complete = _add_calibration(folder, record, calibration)
    if is_new or complete != record:
        write_session(folder, complete)
    return complete


def _begin_session(folder: Path, plan: Plan, camera: Camera, seed: int) -> Session:
    scales = {view.name: camera.px_per_mm(view.name) for view in plan.views}
    return Session(
        session=folder.name,
        number=next_number(folder.parent),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        loco_tools=version("loco-tools"),
        simulated=camera.simulated,
        seed=seed if camera.simulated else None,
        camera=CameraRecord(
            identity=camera.identity,
            requested=plan.camera.requested(),
            actual=camera.settings(),
        ),
        px_per_mm={view: scale for view, scale in scales.items() if scale is not None},
        plan=plan,
    )


def _refuse_other_conditions(
    folder: Path, record: Session, plan: Plan, camera: Camera, seed: int
) -> None:
    """Check that a session continues with the camera, plan, renderer, seed and settings it has."""
    _refuse_other_camera(folder, record, camera)
    if record.plan != plan:
        raise CaptureError(
            f"{folder}: was begun with another plan of {plan.name!r}; next step: restore the plan, "
            "or begin a new session with --new"
        )
    begun, now = record.camera.actual.get("renderer"), camera.settings().get("renderer")
    if begun is not None and begun != now:
        raise CaptureError(
            f"{folder}: was begun with the renderer's variant {begun}, got {now}, which renders "
            f"different noise; next step: set LOCO_TOOLS_TWIN_VARIANT={begun}, or begin a new "
            "session with --new"
        )
    if record.seed != (seed if camera.simulated else None):
        raise CaptureError(
            f"{folder}: was begun with --seed {record.seed}, got {seed}; next step: use that seed, "
            "or begin a new session with --new"
        )
    refuse_drift(folder, record, camera)


def _refuse_other_camera(folder: Path, record: Session, camera: Camera) -> None:
    if record.camera.identity != camera.identity:
        raise CaptureError(
            f"{folder}: was begun with camera {record.camera.identity!r}, got "
            f"{camera.identity!r}; next step: connect that camera, or begin a new session with "
            "--new"
        )


def _refuse_lost_images(folder: Path) -> None:
    lost = [shot.shot for shot in read_shots(folder) if not (folder / shot.file).is_file()]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise CaptureError(
            f"{folder}: expected the image of every shot in its journal, found none of {lost[0]}"
            f"{more}; next step: restore the folder images/ from a copy, or remove the shot's line "
            f"from {folder / JOURNAL} to take it again"
        )


def _add_calibration(
    folder: Path, record: Session, calibration: CameraCalibration | None
) -> Session:
    """The record with the calibration, unless it has that one already or none is given."""
    if calibration is None or record.calibration == calibration:
        return record
    if record.calibration is not None:
        raise CaptureError(
            f"{folder}: was begun with another calibration (of {record.calibration.created}, got "
            f"one of {calibration.created}); next step: leave --calibration out to continue with "
            "the first, or begin a new session with --new"
        )
    # The scale of a simulated camera is exact, so it is kept.
    scales = calibration.px_per_mm() | record.px_per_mm
    return record.model_copy(update={"calibration": calibration, "px_per_mm": scales})


def reconnect_camera(folder: Path, record: Session, camera: Camera) -> None:
    """Release the session's camera and connect it again with the plan's settings; blocks.

    Raises:
        CaptureError: it cannot be connected, or another camera answers under its address.
        DriftError: it does not return to the settings that the session began with.
    """
    camera.close()
    camera.connect()
    _refuse_other_camera(folder, record, camera)
    refuse_drift(folder, record, camera)


def refuse_drift(folder: Path, record: Session, camera: Camera) -> None:
    """Check that the camera still has the settings that the session began with.

    Raises:
        DriftError: a setting differs; the message names each.
    """
    changed = differences(record.camera.actual, camera.settings())
    if changed:
        raise DriftError(
            f"{folder}: camera {camera.identity} no longer has the settings that the session "
            f"began with: {'; '.join(changed)}; nothing was taken with them; next step: restore "
            "them, switch off the camera's automatic modes, and run the command again"
        )
