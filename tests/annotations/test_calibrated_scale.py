"""From a calibrated camera to saturation thresholds in pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import (
    HEIGHT,
    WIDTH,
    box,
    brush_region,
    make_task,
    small_plan,
    write_export,
)

from loco_tools.annotations.convert import convert
from loco_tools.annotations.taxonomy import AreaMm2, Taxonomy
from loco_tools.capture.calibration.record import (
    CameraCalibration,
    Lens,
    Sheet,
    UsedFrame,
    ViewScale,
    write_calibration,
)
from loco_tools.capture.cameras import open_camera
from loco_tools.capture.session import read_session
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.datasets.images import write_png
from loco_tools.errors import AnnotationError, CaptureError
from loco_tools.plan import Gates, Plan

PX_PER_MM = 3.7
AREA_MM2 = 4.2


@pytest.fixture
def plan() -> Plan:
    ungated = Gates.model_validate(dict.fromkeys(Gates.model_fields))
    whole = small_plan()
    return whole.model_copy(update={"gates": ungated, "views": whole.views[:1]})


@pytest.fixture
def in_mm2(taxonomy: Taxonomy) -> Taxonomy:
    """Every defect saturates at `AREA_MM2`."""
    area = {"saturation": AreaMm2(area_mm2=AREA_MM2)}
    defects = tuple(defect.model_copy(update=area) for defect in taxonomy.defects)
    return taxonomy.model_copy(update={"defects": defects})


@pytest.fixture
def camera(tmp_path: Path, plan: Plan) -> str:
    """A real camera: a folder of photographs, under its stable identity."""
    rng = np.random.default_rng(0)
    for shot in plan.planned_shots():
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_png(tmp_path / "photographs" / f"{shot.shot}.png", pixels)
    with open_camera(f"folder:{tmp_path / 'photographs'}", plan, seed=0) as device:
        return device.identity


def make_calibration(plan: Plan, identity: str, **changes: Any) -> CameraCalibration:
    lens = Lens(
        focal_px=(900.0, 900.0),
        principal_point_px=(31.5, 23.5),
        distortion=(0,) * 5,
        focal_std_px=1,
    )
    views = tuple(
        ViewScale(
            view=view,
            rotation_vector=(0, 0, 0),
            translation_mm=(0, 0, 900 / PX_PER_MM),
            px_per_mm=PX_PER_MM,
            area_px2_per_mm2=PX_PER_MM**2,
        )
        for view in plan.views
    )
    known: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "loco_tools": "0.1.0",
        "class_name": plan.name,
        "camera": identity,
        "simulated": False,
        "settings": {},
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "sheet": Sheet(),
        "lens": lens,
        "reprojection_error_px": 0.1,
        "frames": (UsedFrame(frame="top.png", corners=40, error_px=0.1),),
        "views": views,
    }
    return CameraCalibration.model_validate(known | changes)


@pytest.fixture
def calibration(tmp_path: Path, plan: Plan, camera: str) -> Path:
    write_calibration(tmp_path / "calibration.json", make_calibration(plan, camera))
    return tmp_path / "calibration.json"


def exported(session: Path) -> Path:
    shots = ("p0004-top", "p0005-top", "p0006-top", "p0007-top")
    region = brush_region(box(5, 5, 20, 20))
    tasks = [make_task(region, task=n, shot=shot) for n, shot in enumerate(shots, start=1)]
    return write_export(session / "labelstudio.json", *tasks)


def thresholds(data: Path) -> set[float]:
    entries = json.loads((data / "composite_part" / "defects_config.json").read_text())
    assert not any(entry["relative_saturation"] for entry in entries)
    return {entry["saturation_threshold"] for entry in entries}


def test_areas_become_pixels_by_the_calibrated_scale(
    plan: Plan, camera: str, calibration: Path, in_mm2: Taxonomy, tmp_path: Path
) -> None:
    session = capture(
        SessionRequest(plan, camera=camera, captures=tmp_path / "c", calibration=calibration)
    )
    record = read_session(session)
    assert record.px_per_mm == {"top": PX_PER_MM}
    assert record.calibration == make_calibration(plan, camera)
    assert not record.simulated
    convert(exported(session), out_root=tmp_path / "data", taxonomy=in_mm2)
    assert thresholds(tmp_path / "data") == {round(AREA_MM2 * PX_PER_MM**2)}


def test_a_session_without_a_scale_can_be_calibrated_afterwards(
    plan: Plan, camera: str, calibration: Path, in_mm2: Taxonomy, tmp_path: Path
) -> None:
    session = capture(SessionRequest(plan, camera=camera, captures=tmp_path / "c"))
    assert read_session(session).px_per_mm == {}
    export = exported(session)
    with pytest.raises(AnnotationError, match=r"no scale.*loco-tools calibrate camera.*--cal"):
        convert(export, out_root=tmp_path / "data", taxonomy=in_mm2)
    assert not (tmp_path / "data" / "composite_part").exists()

    again = capture(
        SessionRequest(plan, camera=camera, captures=tmp_path / "c", calibration=calibration)
    )

    assert again == session
    convert(export, out_root=tmp_path / "data", taxonomy=in_mm2)
    assert thresholds(tmp_path / "data") == {round(AREA_MM2 * PX_PER_MM**2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera": "basler:0815"}, "is for camera 'basler:0815', the session uses 'folder:"),
        ({"width_px": 640}, "is for 640 x 48 px, the plan's pictures have 64 x 48 px"),
    ],
)
def test_a_calibration_of_something_else_is_refused_and_nothing_is_written(
    plan: Plan, camera: str, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_calibration(tmp_path / "other.json", make_calibration(plan, camera, **changes))
    with pytest.raises(CaptureError, match=rf"{message}.*next step: calibrate this camera"):
        capture(
            SessionRequest(
                plan, camera=camera, captures=tmp_path / "c", calibration=tmp_path / "other.json"
            )
        )
    assert not list(tmp_path.glob("c/**/session.json"))


def test_a_session_keeps_its_calibration(
    plan: Plan, camera: str, calibration: Path, tmp_path: Path
) -> None:
    session = capture(
        SessionRequest(plan, camera=camera, captures=tmp_path / "c", calibration=calibration)
    )
    before = (session / "session.json").read_bytes()
    capture(SessionRequest(plan, camera=camera, captures=tmp_path / "c"))
    later = make_calibration(plan, camera, created="2026-02-03T04:05:06+00:00")
    write_calibration(tmp_path / "later.json", later)
    with pytest.raises(CaptureError, match=r"of 2026-01-02.*of 2026-02-03.*--new"):
        capture(
            SessionRequest(
                plan, camera=camera, captures=tmp_path / "c", calibration=tmp_path / "later.json"
            )
        )
    assert (session / "session.json").read_bytes() == before
