"""Looking at cameras: does each give a picture, and of what kind?"""

from collections.abc import Iterable, Sequence

from loco_tools.capture.cameras import Camera, connected_cameras, open_camera, public_name
from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.checks.quality import clipped_shares, find_part, sharpness, to_grey
from loco_tools.datasets.images import Pixels
from loco_tools.errors import LocoToolsError
from loco_tools.plan import PlannedShot
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import Schema

LOOK = PlannedShot("look", "look", "top", "test", "good", None)
"""The shot that a camera is asked for when nobody has planned one."""


class CameraReport(Schema):
    """What one camera did when it was asked for a frame.

    `camera` is what `--camera` takes; `asked` is whether a person named it, as opposed to its
    being found. `error` is there unless `ok`; all else is there when `ok`.
    """

    camera: str
    ok: bool
    asked: bool
    simulated: bool | None = None
    width: int | None = None
    height: int | None = None
    settings: Settings | None = None
    statistics: dict[str, float] | None = None
    note: str | None = None
    error: str | None = None

    def describe(self) -> str:
        """The same in a few lines for a person."""
        if not self.ok:
            return f"{self.camera}  FAILED\n    {self.error}"
        origin = "SIMULATED" if self.simulated else "ok"
        figures = {**(self.settings or {}), **(self.statistics or {})}
        sizes = ("width_px", "height_px")
        told = [f"{name} {value}" for name, value in figures.items() if name not in sizes]
        lines = [f"{self.camera}  {origin}, {self.width} x {self.height}", ", ".join(told)]
        return "\n    ".join([*lines, *([f"note: {self.note}"] if self.note else [])])


def look_at_cameras(asked: Sequence[str], progress: Progress = SILENT) -> list[CameraReport]:
    """Grab a frame from each camera that is connected, each that is asked for, and the twin.

    The settings of the cameras are left as they are. What kinds of cameras cannot be looked for,
    because a part of loco-tools is not installed, is told to `progress`.

    Args:
        asked: further cameras, as `--camera` takes them: network cameras, files, folders.
        progress: where to report to.
    """
    found = connected_cameras()
    for note in found.notes:
        progress.note(note)
    wanted = dict.fromkeys([*asked, *found.cameras, "twin"])
    reports: dict[str, CameraReport] = {}
    with progress.task("cameras", len(wanted)) as advance:
        for identity in wanted:
            report = look_at(identity, asked=identity in asked)
            reports.setdefault(report.camera, report)
            advance(1)
    return list(reports.values())


def look_at(identity: str, *, asked: bool = True) -> CameraReport:
    """Grab a frame from one camera with the settings that it has. Never raises for the camera."""
    try:
        camera = open_camera(identity, None, seed=0)
        with camera:
            return _describe(camera, camera.frame(LOOK).image, asked=asked)
    except (LocoToolsError, OSError) as error:
        name = public_name(identity)
        return CameraReport(camera=name, ok=False, asked=asked, error=str(error))


def _describe(camera: Camera, image: Pixels, *, asked: bool) -> CameraReport:
    height, width = image.shape[:2]
    return CameraReport(
        camera=camera.identity,
        ok=True,
        asked=asked,
        simulated=camera.simulated,
        width=width,
        height=height,
        settings=camera.settings(),
        statistics=statistics(image),
        note=camera.caution,
    )


def statistics(image: Pixels) -> dict[str, float]:
    """Figures that tell a usable frame (H, W, 3) uint8 RGB from a bad one.

    Returns:
        mean_level, contrast: mean and standard deviation of the grey levels, 0-255;
        saturated_share, black_share: share of the part's pixels at 255 or at 0 in any channel, of
        all pixels when no part is seen;
        sharpness: of the part's edges, when one is seen.
    """
    grey = to_grey(image)
    part = find_part(grey)
    saturated, black = clipped_shares(image, part)
    figures = {
        "mean_level": float(grey.mean()),
        "contrast": float(grey.std()),
        "saturated_share": saturated,
        "black_share": black,
        **({"sharpness": sharpness(grey, part)} if part else {}),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def failed(reports: Iterable[CameraReport]) -> list[CameraReport]:
    """The cameras that a person asked for and that gave no picture."""
    return [report for report in reports if report.asked and not report.ok]
