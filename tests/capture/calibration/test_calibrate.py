"""Calibration with boards that the twin renders: all that is true is known."""

import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click
import cv2
import numpy as np
import pytest

from loco_tools import cli
from loco_tools.capture.calibration import calibrate as calibrate_module
from loco_tools.capture.calibration.board import Board, draw_board, parse_board_id
from loco_tools.capture.calibration.calibrate import calibrate
from loco_tools.capture.calibration.record import (
    CameraCalibration,
    Sheet,
    read_calibration,
    write_calibration,
)
from loco_tools.capture.cameras import Camera, Frame
from loco_tools.cli.calibrating import wait_for_a_key
from loco_tools.datasets.images import Pixels, read_image, write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot, View, load_plan
from loco_tools.twin.assembly import extent
from loco_tools.twin.board_pictures import photograph
from loco_tools.twin.viewpoint import look

pytest.importorskip("mitsuba", reason="the extra twin is not installed")

WIDTH, HEIGHT, FIELD_MM = 320, 240, 120.0
PX_PER_MM = WIDTH / FIELD_MM
FOCAL_PX = 6 * WIDTH
MARGIN = 40
"""The boards are rendered wider by this many pixels all round, for the lens to pull in."""

CalibratePlan = Callable[..., CameraCalibration]


def plan_of(width: int, height: int) -> Plan:
    """The angle bracket: seen from above and twice from the side, at 2.67 px per mm."""
    plan = load_plan("angle")
    size = {"width_px": width, "height_px": height, "field_mm": width / PX_PER_MM}
    return plan.model_copy(update={"camera": plan.camera.model_copy(update=size)})


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pixels]:
    """Boards flat in each view and tilted, with a margin."""
    folder = tmp_path_factory.mktemp("wide") / "boards"
    larger = plan_of(WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
    calibrate(larger, keep=folder, tilted=8)
    return {path.name: read_image(path) for path in sorted(folder.iterdir())}


def cropped(image: Pixels) -> Pixels:
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


@pytest.fixture
def boards(tmp_path: Path, wide: dict[str, Pixels]) -> Path:
    """A folder of 11 photographs of the board, three of them flat."""
    for name, image in wide.items():
        write_png(tmp_path / "boards" / name, cropped(image))
    return tmp_path / "boards"


def through_lens(image: Pixels, k1: float) -> Pixels:
    """What a lens with radial distortion `k1` and the same focal length makes of a wide image."""
    focal = 6.0 * (WIDTH + 2 * MARGIN)
    matrix = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(points, matrix, np.array([k1, 0, 0, 0, 0.0]), P=matrix)
    source = (straight + MARGIN).astype(np.float32).reshape(HEIGHT, WIDTH, 2)
    return cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_CUBIC)


class BoardCamera(Camera):
    """A real camera as far as anybody can tell: shows one board after the other."""

    def __init__(self, images: list[Pixels]) -> None:
        self.identity = "test:1234"
        self._images = iter(images)

    def connect(self) -> None:
        pass

    def frame(self, shot: PlannedShot) -> Frame:
        return Frame(next(self._images))

    def settings(self) -> dict[str, float | str]:
        return {"exposure_us": 9000.0}

    def close(self) -> None:
        pass


@pytest.fixture
def use_camera(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Pixels]], None]:
    def use(images: list[Pixels]) -> None:
        camera = BoardCamera(images)
        monkeypatch.setattr(calibrate_module, "open_camera", lambda *_, **__: camera)

    return use


def check_scales(calibration: CameraCalibration) -> None:
    """Straight and oblique views alike have the scale that the twin states, within 0.5 %."""
    assert list(calibration.px_per_mm()) == ["top", "inside", "outside"]
    for scale in calibration.px_per_mm().values():
        assert scale == pytest.approx(PX_PER_MM, rel=0.005)


def true_area_scale(plan: Plan, view: View) -> float:
    """Pixels that a mm2 of the table covers below the middle of the part."""
    low, high = extent(plan.part)
    x, y, _ = (low + high) / 2
    corners = np.array([[x, y, 0.0], [x + 1, y, 0.0], [x, y + 1, 0.0]])
    here, right, up = look(plan.camera, view, (low + high) / 2).project(corners)
    return abs(float(np.linalg.det(np.stack([right - here, up - here]))))


def test_the_twins_own_boards_give_its_scale_and_focal_length(plan: Plan) -> None:
    calibration = calibrate(plan, tilted=6)
    check_scales(calibration)
    assert calibration.simulated
    assert calibration.camera == "twin"
    assert calibration.lens.focal_px == pytest.approx((FOCAL_PX, FOCAL_PX), rel=0.01)
    assert calibration.reprojection_error_px < 0.4
    assert len(calibration.frames) == 9
    for scale in calibration.views:
        assert scale.elevation_deg() == pytest.approx(scale.view.elevation_deg, abs=1.0)
        assert scale.area_px2_per_mm2 == pytest.approx(true_area_scale(plan, scale.view), rel=0.01)


def test_a_folder_of_boards_is_a_camera(plan: Plan, boards: Path) -> None:
    calibration = calibrate(plan, camera=f"folder:{boards}")
    check_scales(calibration)
    assert calibration.camera.startswith(f"folder:{boards}")
    assert not calibration.simulated


@pytest.mark.parametrize("k1", [-3.0, 2.5])
def test_a_lens_with_distortion_is_recovered(
    plan: Plan, wide: dict[str, Pixels], tmp_path: Path, k1: float
) -> None:
    for name, image in wide.items():
        write_png(tmp_path / "boards" / name, through_lens(image, k1))
    calibration = calibrate(plan, camera=f"folder:{tmp_path / 'boards'}")
    check_scales(calibration)
    focal = 6.0 * (WIDTH + 2 * MARGIN)
    assert calibration.lens.focal_px == pytest.approx((focal, focal), rel=0.01)
    assert calibration.lens.distortion[0] == pytest.approx(k1, abs=0.5)
    assert calibration.reprojection_error_px < 0.4


def test_photographs_may_be_of_another_time_than_the_camera(
    plan: Plan, boards: Path, use_camera: Callable[[list[Pixels]], None]
) -> None:
    use_camera([])
    calibration = calibrate(plan, camera="test:1234", images=boards)
    check_scales(calibration)
    assert calibration.camera == "test:1234"
    assert calibration.settings == {"exposure_us": 9000.0}


def test_an_operator_gets_instructions_again(
    plan: Plan, boards: Path, use_camera: Callable[[list[Pixels]], None]
) -> None:
    flat = [read_image(boards / f"{view.name}.png") for view in plan.views]
    tilted = [read_image(path) for path in sorted(boards.glob("0*.png"))]
    blank = np.full_like(flat[0], 90)
    use_camera([blank, *flat, *tilted[:4], tilted[3], *tilted[4:]])
    said: list[str] = []

    def ask(words: str) -> bool:
        said.append(words)
        return True

    calibration = calibrate(plan, camera="test:1234", tilted=8, ask=ask)

    check_scales(calibration)
    assert said[0].startswith("View 1 of 3, top: lay the board flat where the part lies")
    assert said[1].startswith("Not taken: expected at least 12 corners")
    assert said[1].endswith(said[0])
    assert said[4].startswith("Tilted board 1 of 8")
    assert "Not taken: the board is held as in 04" in said[9]
    assert len(said) == 13


def test_an_operator_who_gives_up_leaves_nothing_but_the_photographs(
    plan: Plan, boards: Path, use_camera: Callable[[list[Pixels]], None], tmp_path: Path
) -> None:
    use_camera([read_image(boards / "top.png")])
    answers: Iterator[bool] = iter([True, False])
    with pytest.raises(CaptureError, match="cancelled; nothing is written"):
        calibrate(plan, camera="x", keep=tmp_path / "kept", ask=lambda _: next(answers))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["top.png"]


def test_any_key_but_q_takes_a_photograph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = iter(" \rqQ")
    monkeypatch.setattr(click, "getchar", lambda: next(keys))
    assert [wait_for_a_key("Lay the board flat.") for _ in range(4)] == [True, True, False, False]
    assert "Lay the board flat. [any key: take it, Q: cancel]" in capsys.readouterr().err


def test_a_real_camera_without_an_operator_is_refused(
    plan: Plan, use_camera: Callable[[list[Pixels]], None]
) -> None:
    use_camera([])
    with pytest.raises(
        CaptureError, match=r"expected an operator who shows it the board.*--images"
    ):
        calibrate(plan, camera="test:1234")


def test_photographs_of_no_use_are_left_out_and_flat_ones_insisted_on(
    plan: Plan, boards: Path
) -> None:
    blank = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    write_png(boards / "99.png", blank)
    calibration = calibrate(plan, camera=f"folder:{boards}")
    assert "99.png" not in {frame.frame for frame in calibration.frames}
    write_png(boards / "inside.png", blank)
    with pytest.raises(CaptureError, match=r"inside\.png: expected at least 12 corners"):
        calibrate(plan, camera=f"folder:{boards}")


def test_a_view_without_a_flat_board_is_refused(plan: Plan, boards: Path) -> None:
    (boards / "inside.png").unlink()
    with pytest.raises(CaptureError, match=r"none for inside; next step.*add inside\.png"):
        calibrate(plan, camera=f"folder:{boards}")


def test_a_folder_that_is_not_there_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="nowhere: no such folder"):
        calibrate(plan, images=tmp_path / "nowhere")


def test_another_size_than_the_plans_is_refused(plan: Plan, boards: Path) -> None:
    with pytest.raises(CaptureError, match=r"expected a picture of 640 x 480 px.*got 320 x 240"):
        calibrate(load_plan("angle"), images=boards)


def test_another_board_is_refused(plan: Plan, boards: Path) -> None:
    sheet = Sheet(board=parse_board_id("11x17-15-11-5X5_100"))
    with pytest.raises(CaptureError, match=r"not the board .*of a dictionary 4X4"):
        calibrate(plan, images=boards, sheet=sheet)


def test_a_board_whose_middle_is_not_in_the_picture_is_refused(plan: Plan, boards: Path) -> None:
    board = Board()
    corner = draw_board(board)[: 4 * 1700, :]  # the upper part of the board, laid in the middle
    size = (board.size_mm[0], corner.shape[0] / 20)
    large = corner[:1700]
    picture = photograph(plan, "top", large, (size[0], 85.0))
    write_png(boards / "top.png", picture.image)
    with pytest.raises(
        CaptureError, match="view top: expected the middle of the board in the picture, got x"
    ):
        calibrate(plan, images=boards)


def test_a_reprojection_error_that_is_too_high_is_refused(plan: Plan, boards: Path) -> None:
    with pytest.raises(CaptureError, match=r"at most 0\.01 px, got 0\.\d+ px \(worst: "):
        calibrate(plan, images=boards, max_error_px=0.01)


def test_photographs_are_kept_in_a_folder_of_their_own(plan: Plan, boards: Path) -> None:
    with pytest.raises(CaptureError, match="expected an empty or new folder"):
        calibrate(plan, images=boards, keep=boards)


@pytest.fixture
def calibration(plan: Plan, boards: Path) -> CameraCalibration:
    return calibrate(plan, images=boards)


def test_a_calibration_file_comes_back_as_it_was(
    calibration: CameraCalibration, tmp_path: Path
) -> None:
    write_calibration(tmp_path / "c.json", calibration)
    assert read_calibration(tmp_path / "c.json") == calibration
    with pytest.raises(CaptureError, match=r"d\.json: no such calibration; next step"):
        read_calibration(tmp_path / "d.json")


def test_a_calibration_does_not_fit_another_camera_size_or_view(
    calibration: CameraCalibration, plan: Plan
) -> None:
    calibration.check_fits(plan, "twin")
    with pytest.raises(CaptureError, match="is for camera 'twin', the session uses 'basler:1'"):
        calibration.check_fits(plan, "basler:1")
    with pytest.raises(CaptureError, match="for 320 x 240 px, the plan's pictures have 640 x 480"):
        calibration.check_fits(load_plan("angle"), "twin")
    steeper = plan.views[1].model_copy(update={"elevation_deg": 60.0})
    changed = plan.model_copy(update={"views": (plan.views[0], steeper)})
    with pytest.raises(CaptureError, match="lacks the plan's view inside in its present form"):
        calibration.check_fits(changed, "twin")


def test_the_commands_print_a_board_and_write_a_calibration(
    boards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["calibrate", "board", "--out", "sheet.pdf"]) == 0
    assert (tmp_path / "sheet.pdf").is_file()
    assert "11 x 17 squares of 15 mm" in capsys.readouterr().out

    arguments = ["calibrate", "camera", "--class", "angle", "--demo", "--images", str(boards)]
    assert cli.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "top: 2.66" in printed
    assert "--calibration captures/angle/calibration.json" in printed
    found = read_calibration(tmp_path / "captures" / "angle" / "calibration.json")
    check_scales(found)

    (boards / "top.png").unlink()
    assert cli.run([*arguments, "--out", "second.json"]) == 1
    assert "none for top" in capsys.readouterr().err
    assert not (tmp_path / "second.json").exists()


def press_when_asked(terminal: int, stderr: IO[str], key: bytes) -> list[str]:
    """Press a key for every question; returns what was said."""
    said = []
    for line in stderr:
        said.append(line)
        if "any key" in line:
            while termios.tcgetattr(terminal)[3] & termios.ICANON:
                time.sleep(0.01)  # not waiting for a single key yet
            os.write(terminal, key)
    return said


def test_at_a_terminal_each_key_takes_a_photograph_with_a_real_backend(
    boards: Path, tmp_path: Path
) -> None:
    names = [*("top", "inside", "outside"), *(f"{number:02d}" for number in range(1, 9))]
    film = cv2.VideoWriter(
        str(tmp_path / "boards.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 10, (WIDTH, HEIGHT)
    )
    for name in names:
        film.write(np.ascontiguousarray(read_image(boards / f"{name}.png")[..., ::-1]))
    film.release()
    terminal, theirs = pty.openpty()
    arguments = ["calibrate", "camera", "--class", "angle", "--demo", "--frames", "8"]
    program = [sys.executable, "-c", "from loco_tools.cli import main; main()"]
    with subprocess.Popen(
        [*program, *arguments, "--camera", "opencv:boards.avi"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        said = press_when_asked(terminal, process.stderr, b" ")
        printed = process.stdout.read()
    os.close(terminal)
    os.close(theirs)
    assert process.returncode == 0, said
    assert len(said) == len(names)
    assert "11 photographs of the board" in printed
    check_scales(read_calibration(tmp_path / "captures" / "angle" / "calibration.json"))
