"""Taking a test frame from each camera, for `loco-tools cameras`."""

from collections.abc import Iterable, Sequence

import numpy as np

from loco_tools.capture.cameras import connected_cameras, open_camera, public_name
from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.checks.quality import clipped_shares, find_part, sharpness, to_grey
from loco_tools.datasets.images import Pixels
from loco_tools.errors import LocoToolsError
from loco_tools.plan import PlannedShot
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import Schema

TEST_SHOT = PlannedShot("look", "look", "top", "test", "good", None)
"""The shot that a camera gets for a frame outside any plan."""


_BLACK_LEVEL = 16
"""A frame is black if 99 % of its values are at most this; noise and hot pixels are above 0."""


class CameraReport(Schema):
    """The result of a test frame from one camera.

    Attributes:
        camera: the name that `--camera` takes.
        ok: whether it gave a frame; if not, `error` says why, and the following fields are None.
        asked: whether a person named the camera; False if it was found.
        statistics: see `statistics`.
        note: what to know about the camera or the frame, if anything: the camera's `caution`, or
            that the frame is black.
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
        """The report in a few lines of text."""
        if not self.ok:
            return f"{self.camera}  FAILED\n    {self.error}"
        origin = "SIMULATED" if self.simulated else "ok"
        figures = {**(self.settings or {}), **(self.statistics or {})}
        sizes = ("width_px", "height_px")
        shown = [f"{name} {value}" for name, value in figures.items() if name not in sizes]
        lines = [f"{self.camera}  {origin}, {self.width} x {self.height}", ", ".join(shown)]
        return "\n    ".join([*lines, *([f"note: {self.note}"] if self.note else [])])


def probe_cameras(asked: Sequence[str], progress: Progress = SILENT) -> list[CameraReport]:
    """Take a frame from each connected camera, from each camera in `asked`, and from the twin.

    The cameras keep their settings. A kind of camera that cannot be searched for, because a part
    of loco-tools is not installed, is noted in `progress`.

    Args:
        asked: further cameras, in the form that `--camera` takes: network cameras, files, folders.
        progress: receives progress and notes.
    """
    found = connected_cameras()
    for note in found.notes:
        progress.note(note)
    identities = dict.fromkeys([*asked, *found.cameras, "twin"])
    reports: dict[str, CameraReport] = {}
    with progress.task("cameras", len(identities)) as advance:
        for identity in identities:
            report = probe_camera(identity, asked=identity in asked)
            reports.setdefault(report.camera, report)
            advance(1)
    return list(reports.values())


def probe_camera(identity: str, *, asked: bool = True) -> CameraReport:
    """Take a frame from one camera with its present settings; a failure is part of the report."""
    try:
        with open_camera(identity, None, seed=0) as camera:
            image = camera.frame(TEST_SHOT).image
            return CameraReport(
                camera=camera.identity,
                ok=True,
                asked=asked,
                simulated=camera.simulated,
                width=image.shape[1],
                height=image.shape[0],
                settings=camera.settings(),
                statistics=statistics(image),
                note="; ".join(filter(None, [camera.caution, _black(image)])) or None,
            )
    except (LocoToolsError, OSError) as error:
        name = public_name(identity)
        return CameraReport(camera=name, ok=False, asked=asked, error=str(error))


def _black(image: Pixels) -> str | None:
    """A note if a frame shows nothing; None if it shows something."""
    if np.percentile(image, 99) > _BLACK_LEVEL:
        return None
    return (
        "the frame is black; take off the lens cap or add light, and run the command again, since "
        "some cameras begin with black frames"
    )


def statistics(image: Pixels) -> dict[str, float]:
    """Measurements that show whether a frame (H, W, 3) uint8 RGB is usable.

    Returns:
        mean_level, contrast: mean and standard deviation of the grey levels, 0-255;
        saturated_share, black_share: share of the part's pixels at 255 or at 0 in any channel, or
        of all pixels if no part was found;
        sharpness: of the part's edges, if a part was found.
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
    """The cameras that a person asked for and that gave no frame."""
    return [report for report in reports if report.asked and not report.ok]
