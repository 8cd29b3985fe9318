"""The digital twin as a camera: it renders what the plan says lies on the table."""

import hashlib

from loco_tools import twin
from loco_tools.capture.cameras.camera import Camera, Frame, Settings, TrueDefect, require_connected
from loco_tools.errors import CaptureError
from loco_tools.extras import require
from loco_tools.plan import Plan, PlannedShot, load_plan

DEFAULT_PLAN = "flat_connector"
"""The plan whose parts the twin shows if it is given no plan."""


class TwinCamera(Camera):
    """A simulated camera over a simulated table.

    Args:
        address: must be empty; there is only one twin.
        plan: what to render; without one, the small version of a plan that comes with loco-tools.
        seed: random seed; a part looks the same in every session with the same seed.
    """

    identity = "twin"
    simulated = True

    def __init__(self, address: str, plan: Plan | None, *, seed: int) -> None:
        if address:
            raise CaptureError(f'camera "twin:{address}": expected "twin", there is only one')
        self._plan = plan or load_plan(DEFAULT_PLAN).for_demo()
        self._seed = seed
        self._table: Plan | None = None
        self._last: tuple[PlannedShot, twin.Rendering] | None = None

    def connect(self) -> None:
        """See `Camera.connect`; there is nothing to claim.

        Raises:
            MissingExtraError: the renderer is not installed.
        """
        require("the digital twin", "twin")
        self._table = self._plan

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`. All views of one part show the same part.

        The last rendering is kept, since a preview of a shot is followed by its photograph.
        """
        table = require_connected(self._table, self.identity)
        if self._last is None or self._last[0] != shot:
            seed = part_seed(self._seed, table.name, shot.part)
            self._last = shot, twin.render(table, seed, shot.defect, shot.view)
        rendering = self._last[1]
        truth = tuple(TrueDefect(defect.name, defect.mask.copy()) for defect in rendering.defects)
        return Frame(rendering.image.copy(), truth)

    def settings(self) -> Settings:
        """See `Camera.settings`: those of the plan, exactly.

        `renderer` is the variant of the renderer: another variant renders other pixels.
        """
        return self._plan.camera.requested() | {"renderer": twin.variant()}

    def close(self) -> None:
        """See `Camera.close`; there is nothing to release."""
        self._table = None
        self._last = None

    def px_per_mm(self, view: str) -> float:
        """See `Camera.px_per_mm`; exact, and the same in every view."""
        self._plan.view(view)
        return self._plan.camera.width_px / self._plan.camera.field_mm


def part_seed(seed: int, class_name: str, part: str) -> int:
    """The 63-bit random seed of one part, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{class_name}/{part}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
