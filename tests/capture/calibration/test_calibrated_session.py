from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from session_builders import make_plan, write_photographs

from loco_tools.capture.calibration.record import (
    CameraCalibration,
    Lens,
    Sheet,
    UsedFrame,
    ViewScale,
    write_calibration,
)
from loco_tools.capture.guide import Guide, open_guide
from loco_tools.capture.session import read_session
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.errors import CaptureError

Opened = Callable[..., AbstractContextManager[Guide]]

PLAN = make_plan(good=1)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Opens the session of a folder of photographs."""
    camera = f"folder:{write_photographs(PLAN, tmp_path / 'photographs')}"

    def open_one(calibration: Path | None = None) -> AbstractContextManager[Guide]:
        return open_guide(
            SessionRequest(
                PLAN, camera=camera, captures=tmp_path / "captures", calibration=calibration
            )
        )

    return open_one


def write(folder: Path, camera: str, *, px_per_mm: float = 2.5, created: str = "today") -> Path:
    views = [
        ViewScale(
            view=view,
            rotation_vector=(0.0, 0.0, 0.0),
            translation_mm=(0.0, 0.0, 500.0),
            px_per_mm=px_per_mm,
            area_px2_per_mm2=px_per_mm**2,
        )
        for view in PLAN.views
    ]
    calibration = CameraCalibration(
        created=created,
        loco_tools="0",
        class_name=PLAN.name,
        camera=camera,
        simulated=False,
        settings={},
        width_px=PLAN.camera.width_px,
        height_px=PLAN.camera.height_px,
        sheet=Sheet(),
        lens=Lens(
            focal_px=(900.0, 900.0),
            principal_point_px=(160.0, 120.0),
            distortion=(0.0, 0.0, 0.0, 0.0, 0.0),
            focal_std_px=1.0,
        ),
        reprojection_error_px=0.1,
        frames=(UsedFrame(frame="0.png", corners=40, error_px=0.1),),
        views=tuple(views),
    )
    path = folder / f"{created}.json"
    write_calibration(path, calibration)
    return path


def test_a_session_takes_its_calibration_on_also_later_and_keeps_it(
    opened: Opened, tmp_path: Path
) -> None:
    with opened() as guide:
        assert guide.record.px_per_mm == {}
        identity = guide.record.camera.identity
    path = write(tmp_path, identity)
    with opened(path) as guide:
        assert guide.record.px_per_mm == {"top": 2.5, "side": 2.5}
    for calibration in (None, path):
        with opened(calibration) as guide:
            record = read_session(guide.folder)
            assert record == guide.record
            assert record.calibration is not None
            assert record.px_per_mm == {"top": 2.5, "side": 2.5}


def test_the_part_s_position_is_measured_by_the_calibrated_scale(
    opened: Opened, tmp_path: Path
) -> None:
    with opened() as guide:
        guide.shoot()
        guide.accept()
        guide.skip()
        by_plan = guide.shoot().measurements["offset_mm"]
        identity = guide.record.camera.identity
    with opened(write(tmp_path, identity, px_per_mm=4.0)) as guide:
        assert guide.shoot().measurements["offset_mm"] == pytest.approx(by_plan / 2, abs=0.01)


def test_a_calibration_that_does_not_belong_is_refused(opened: Opened, tmp_path: Path) -> None:
    with opened() as guide:
        identity = guide.record.camera.identity
    of_another = write(tmp_path, "basler:1", created="another")
    with pytest.raises(CaptureError, match="for camera 'basler:1', the session uses"):
        opened(of_another).__enter__()
    with opened(write(tmp_path, identity, created="first")):
        pass
    second = write(tmp_path, identity, created="second")
    said = r"was begun with another calibration \(of first, got one of second\); next step: leave"
    with pytest.raises(CaptureError, match=said):
        opened(second).__enter__()
    with opened() as guide:
        assert guide.record.calibration is not None
        assert guide.record.calibration.created == "first"
