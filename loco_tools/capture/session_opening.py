"""Which session a capture goes on with, and whether it may."""

import datetime
from importlib.metadata import version
from pathlib import Path

from loco_tools.capture.calibration.record import Calibration
from loco_tools.capture.cameras import Camera
from loco_tools.capture.cameras.camera import differences
from loco_tools.capture.session import (
    JOURNAL,
    RECORD,
    CameraRecord,
    Session,
    clear_unfinished,
    mend_journal,
    progress_of,
    read_session,
    read_shots,
    same_plan,
    sessions_of,
    write_session,
)
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan


class DriftError(CaptureError):
    """The camera no longer has the settings that the session began with."""


def choose_session(
    plan: Plan, class_folder: Path, name: str | None, *, new: bool, skipped: bool = False
) -> Path:
    """The folder of the session to begin or to go on with; it may not exist yet.

    Args:
        plan: of the class.
        class_folder: holds the sessions of the class.
        name: of the session; without one, the newest that is not finished, or else a new one.
        new: begin a new session even if one is unfinished.
        skipped: a session with skipped shots is not finished.

    Raises:
        CaptureError: the name is no file name, or `new` and it exists already.
    """
    if name is not None:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise CaptureError(
                f'session "{name}": expected letters, digits, - and _ only; next step: name it so'
            )
        if new and (class_folder / name / RECORD).exists():
            raise CaptureError(f"{class_folder / name}: exists already; next step: another name")
        return class_folder / name
    known = sessions_of(class_folder)
    if known and not new:
        unfinished = [folder for folder in known if _has_work(folder, skipped)]
        if unfinished:
            return unfinished[-1]
        if same_plan(read_session(known[-1]), plan):
            return known[-1]
    taken = {path.name for path in known}
    return class_folder / next(
        name for i in range(1, 10_000) if (name := f"session-{i:03d}") not in taken
    )


def _has_work(folder: Path, skipped: bool) -> bool:
    far = progress_of(folder)
    return not far.finished or (skipped and far.skipped > 0)


def open_session(
    folder: Path, plan: Plan, camera: Camera, seed: int, calibration: Calibration | None
) -> Session:
    """The record of the session that a connected camera is to go on with, written when it is new.

    What a session that was killed left half-written is cleared away. A session that was begun
    without a calibration takes one on later.

    Raises:
        CaptureError: camera, plan, seed, settings or calibration are not those that the session
            began with, or the calibration does not fit the camera or the plan.
    """
    if calibration is not None:
        calibration.check_fits(plan, camera.identity)
    if not (folder / RECORD).is_file():
        _refuse_without_record(folder)
        record = _new_session(folder.name, plan, camera, seed)
    else:
        record = read_session(folder)
        _refuse_another(folder, record, plan, camera, seed)
        refuse_drift(folder, record, camera)
        mend_journal(folder)
        clear_unfinished(folder)
        _refuse_lost_images(folder)
    calibrated = _calibrated(folder, record, calibration)
    if calibrated != record or not (folder / RECORD).is_file():
        write_session(folder, calibrated)
    return calibrated


def _refuse_without_record(folder: Path) -> None:
    """Check that a folder without a record has no photographs either: nobody knows whose."""
    if (folder / JOURNAL).is_file():
        raise CaptureError(
            f"{folder}: expected the {RECORD} of the shots in its journal, found none, so nobody "
            "knows which camera and plan they are of; next step: restore it from a copy, or begin "
            "another session with --session NAME"
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


def _calibrated(folder: Path, record: Session, calibration: Calibration | None) -> Session:
    if calibration is None or record.calibration == calibration:
        return record
    if record.calibration is not None:
        raise CaptureError(
            f"{folder}: was begun with another calibration (of {record.calibration.created}, got "
            f"one of {calibration.created}); next step: leave --calibration out to go on with the "
            "first, or begin anew with --new"
        )
    # what is known by construction stays
    scales = calibration.px_per_mm() | record.px_per_mm
    return record.model_copy(update={"calibration": calibration, "px_per_mm": scales})


def connect_again(folder: Path, record: Session, camera: Camera) -> None:
    """Release the session's camera and connect it anew, with the plan's settings; blocks.

    Raises:
        CaptureError: it cannot be connected, or another one answers in its place.
        DriftError: it does not come to the settings that the session began with.
    """
    camera.close()
    camera.connect()
    _refuse_another_camera(folder, record, camera)
    refuse_drift(folder, record, camera)


def refuse_drift(folder: Path, record: Session, camera: Camera) -> None:
    """Check that the camera still has the settings that the session began with.

    Raises:
        DriftError: it has not; the message names each.
    """
    found = differences(record.camera.actual, camera.settings())
    if found:
        raise DriftError(
            f"{folder}: camera {camera.identity} no longer has the settings that the session "
            f"began with: {'; '.join(found)}; nothing was taken with them; next step: bring them "
            "back, switch off its automatic modes, and run the command again"
        )


def _refuse_another(folder: Path, record: Session, plan: Plan, camera: Camera, seed: int) -> None:
    _refuse_another_camera(folder, record, camera)
    if not same_plan(record, plan):
        raise CaptureError(
            f"{folder}: was begun with another plan of {plan.name!r}; next step: bring the plan "
            "back, or begin anew with --new"
        )
    _refuse_another_renderer(folder, record, camera)
    if record.seed != (seed if camera.simulated else None):
        raise CaptureError(
            f"{folder}: was begun with --seed {record.seed}, got {seed}; next step: use that seed, "
            "or begin anew with --new"
        )


def _refuse_another_camera(folder: Path, record: Session, camera: Camera) -> None:
    if record.camera.identity != camera.identity:
        raise CaptureError(
            f"{folder}: was begun with camera {record.camera.identity!r}, got "
            f"{camera.identity!r}; next step: connect that camera, or begin anew with --new"
        )


def _refuse_another_renderer(folder: Path, record: Session, camera: Camera) -> None:
    begun, now = record.camera.actual.get("renderer"), camera.settings().get("renderer")
    if begun is not None and begun != now:
        raise CaptureError(
            f"{folder}: was begun with the renderer's variant {begun}, got {now}, which draws "
            f"other noise; next step: set LOCO_TOOLS_TWIN_VARIANT={begun}, or begin anew with --new"
        )


def _new_session(name: str, plan: Plan, camera: Camera, seed: int) -> Session:
    scales = {view.name: camera.px_per_mm(view.name) for view in plan.views}
    return Session(
        session=name,
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
