"""Walking through the shots of a plan with a camera."""

import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from loco_tools import files
from loco_tools.capture.cameras import Camera, Frame, open_camera
from loco_tools.capture.quality import measure
from loco_tools.capture.session import (
    CameraRecord,
    Session,
    Shot,
    append_shot,
    mend_journal,
    progress_of,
    read_session,
    read_shots,
    same_plan,
    sessions_of,
    write_session,
)
from loco_tools.datasets.images import write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot
from loco_tools.progress import SILENT, Progress


def capture(
    plan: Plan,
    *,
    camera: str = "twin",
    captures: Path = Path("captures"),
    session: str | None = None,
    new: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Path:
    """Take every shot of the plan that its session still lacks.

    Without `session`, the newest unfinished session of the class goes on, and a new one begins
    when there is none or when `new` is set.

    Args:
        plan: what to photograph.
        camera: as `--camera` takes it.
        captures: folder of all sessions.
        session: name of the session to begin or to go on with.
        new: begin a new session even if one is unfinished.
        seed: of the parts that the twin renders; real cameras ignore it.
        progress: where to report to.

    Returns:
        The session's folder, `captures/<class>/<session>`.

    Raises:
        CaptureError: the camera or the plan is not the one the session began with, or a frame has
            another size than the plan wants.
    """
    folder = _choose_session(plan, captures / plan.name, session, new=new)
    with open_camera(camera, plan, seed=seed) as device:
        record = _open_session(folder, plan, device, seed)
        _announce(folder, record, progress)
        _take_missing_shots(folder, record, device, progress)
    return folder


def _choose_session(plan: Plan, class_folder: Path, name: str | None, *, new: bool) -> Path:
    if name is not None:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise CaptureError(f'session "{name}": expected letters, digits, - and _ only')
        if new and (class_folder / name).exists():
            raise CaptureError(f"{class_folder / name}: exists already; next step: another name")
        return class_folder / name
    known = sessions_of(class_folder)
    unfinished = [folder for folder in known if not progress_of(folder).finished]
    if unfinished and not new:
        return unfinished[-1]
    if known and not new and same_plan(read_session(known[-1]), plan):
        return known[-1]
    taken = {path.name for path in known}
    return class_folder / next(
        name for i in range(1, 10_000) if (name := f"session-{i:03d}") not in taken
    )


def _open_session(folder: Path, plan: Plan, camera: Camera, seed: int) -> Session:
    if not (folder / "session.json").is_file():
        record = _new_session(folder.name, plan, camera, seed)
        write_session(folder, record)
        return record
    record = read_session(folder)
    if record.camera.identity != camera.identity:
        raise CaptureError(
            f"{folder}: was begun with camera {record.camera.identity!r}, got "
            f"{camera.identity!r}; next step: connect that camera, or begin anew with --new"
        )
    if not same_plan(record, plan):
        raise CaptureError(
            f"{folder}: was begun with another plan of {plan.name!r}; next step: bring the plan "
            "back, or begin anew with --new"
        )
    if record.seed != (seed if camera.simulated else None):
        raise CaptureError(
            f"{folder}: was begun with --seed {record.seed}, got {seed}; next step: use that seed, "
            "or begin anew with --new"
        )
    mend_journal(folder)
    return record


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


def _announce(folder: Path, record: Session, progress: Progress) -> None:
    source = "SIMULATED by the digital twin" if record.simulated else record.camera.identity
    far = progress_of(folder)
    begun = f", going on after {far.done}" if far.done else ""
    progress.note(f"{record.name}: {far.planned} shots, {source}{begun} -> {folder}")


def _take_missing_shots(folder: Path, record: Session, camera: Camera, progress: Progress) -> None:
    done = {shot.shot for shot in read_shots(folder)}
    planned = list(record.plan.planned_shots())
    with progress.task(f"capture {record.name}", len(planned)) as advance:
        advance(sum(shot.shot in done for shot in planned))
        for shot in planned:
            if shot.shot not in done:
                _take(folder, record, camera, shot)
                advance(1)


def _take(folder: Path, record: Session, camera: Camera, shot: PlannedShot) -> None:
    frame = camera.frame(shot)
    _check_size(frame, record.plan)
    _write_truth(folder, shot, frame)
    image = folder / "images" / f"{shot.shot}.png"
    write_png(image, frame.image)
    append_shot(
        folder,
        Shot(
            **shot._asdict(),
            file=image.relative_to(folder).as_posix(),
            sha256=files.sha256_of(image),
            simulated=camera.simulated,
            measurements=measure(frame.image),
        ),
    )


def _check_size(frame: Frame, plan: Plan) -> None:
    wanted = (plan.camera.height_px, plan.camera.width_px, 3)
    if frame.image.shape != wanted:
        raise CaptureError(
            f"the camera gave a frame of {frame.image.shape} (height, width, channels), the plan "
            f"wants {wanted}; next step: set the camera's size, or change the plan"
        )


def _write_truth(folder: Path, shot: PlannedShot, frame: Frame) -> None:
    for number, defect in enumerate(frame.truth):
        target = folder / "truth" / shot.shot / f"{number}_{defect.name}.png"
        write_png(target, defect.mask.astype(np.uint8) * 255)
