"""Folders of images and video files as cameras; `tests/conformance` has what all cameras do."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from loco_tools.capture.cameras import open_camera
from loco_tools.datasets.images import write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot, load_plan

LOOK = PlannedShot("look", "look", "top", "test", "good", None)
SIZE = (24, 32)


def make_plan() -> Plan:
    plan = load_plan("flat_connector")
    wanted = {"height_px": SIZE[0], "width_px": SIZE[1]}
    return plan.model_copy(update={"camera": plan.camera.model_copy(update=wanted)})


def grey(level: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def write_images(folder: Path, **levels: int) -> Path:
    """Images by name, each of one grey level."""
    for name, level in levels.items():
        write_png(folder / f"{name.replace('_', '-')}.png", grey(level))
    return folder


def write_film(path: Path, levels: list[int], codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, SIZE[::-1])
    for level in levels:
        writer.write(grey(level))
    writer.release()
    return path


def connect_fault(camera: str, plan: Plan | None = None) -> str:
    with pytest.raises(CaptureError) as caught, open_camera(camera, plan, seed=0):
        pass
    assert "next step" in str(caught.value)
    return str(caught.value)


def shots_fault(camera: str) -> str:
    plan = make_plan()
    with (
        open_camera(camera, plan, seed=0) as opened,
        pytest.raises(CaptureError, match="next step") as caught,
    ):
        opened.check_shots(list(plan.planned_shots()))
    return str(caught.value)


def test_images_that_are_named_after_shots_go_to_these_shots(tmp_path: Path) -> None:
    plan, folder = make_plan(), write_images(tmp_path, p0002_top=2, p0000_top=7, other=9)
    first, second, third, *_ = plan.planned_shots()
    with open_camera(f"folder:{folder}", plan, seed=0) as camera:
        assert camera.frame(first).image.max() == 7
        assert camera.frame(third).image.max() == 2
        with pytest.raises(CaptureError, match=r"none after shot p0001-top; next step: skip"):
            camera.frame(second)


def test_shots_of_no_plan_get_the_images_in_turn(tmp_path: Path) -> None:
    folder = write_images(tmp_path, a=1, b=2)
    with open_camera(f"folder:{folder}", None, seed=0) as camera:
        shots = [LOOK, LOOK._replace(shot="look-2"), LOOK]
        assert [int(camera.frame(shot).image.max()) for shot in shots] == [1, 2, 1]


def test_the_same_folder_with_other_content_is_another_camera(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", a=1, b=2)
    (folder / "notes.txt").write_text("no image")
    with open_camera(f"folder:{folder}", make_plan(), seed=0) as camera:
        identity = camera.identity
    (folder / "notes.txt").write_text("still no image")
    with open_camera(identity, make_plan(), seed=0) as camera:
        assert camera.identity == identity
    write_images(folder, b=3)
    assert "expected the content with digest" in connect_fault(identity)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"GIF89a" + b"\xff" * 20]
)
def test_a_hostile_or_damaged_image_is_refused_before_the_session_begins(
    tmp_path: Path, content: bytes
) -> None:
    folder = write_images(tmp_path, a=1)
    (folder / "b.png").write_bytes(content)
    with pytest.raises(CaptureError, match=r"b\.png: (expected an image|damaged)"):
        open_camera(f"folder:{folder}", None, seed=0).connect()


def test_an_image_that_breaks_off_is_refused_when_its_turn_comes(tmp_path: Path) -> None:
    folder = write_images(tmp_path, a=1)
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[:-20])
    with (
        open_camera(f"folder:{folder}", None, seed=0) as camera,
        pytest.raises(CaptureError, match=r"a\.png: damaged"),
    ):
        camera.frame(LOOK)


def test_one_image_of_another_size_is_refused_before_the_session_begins(tmp_path: Path) -> None:
    folder = write_images(tmp_path, a=1, b=2)
    write_png(folder / "c.png", grey(3, (24, 40)))
    fault = connect_fault(f"folder:{folder}", make_plan())
    assert "c.png does not have the settings of the plan: width_px: expected 32, got 40" in fault


def test_two_images_for_one_shot_are_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path, p0000_top=1)
    cv2.imwrite(str(folder / "p0000-top.jpg"), grey(1))
    assert "expected one image for shot p0000-top, found 2" in shots_fault(f"folder:{folder}")


@pytest.mark.parametrize("name", ["IMG-2.jfif", "IMG-2.png.part", "IMG-2"])
def test_a_file_that_may_be_an_image_and_is_not_read_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_images(tmp_path, IMG_1=1, IMG_3=3)
    for companion in ("notes.TXT", "Thumbs.db", "IMG-1.xmp", "IMG-3.png.xmp"):
        (folder / companion).write_text("no image")
    with open_camera(f"folder:{folder}", make_plan(), seed=0) as camera:
        assert "not used" in str(camera.caution)
    (folder / name).write_bytes(b"no image that is read")
    assert f"), got {name}; next step: convert" in connect_fault(f"folder:{folder}", make_plan())


def test_two_images_of_one_name_are_refused_where_the_order_counts(tmp_path: Path) -> None:
    folder = write_images(tmp_path, IMG_4=4, IMG_5=5, IMG_6=6)
    cv2.imwrite(str(folder / "IMG-5.jpg"), grey(5))
    assert "got IMG-5.jpg and IMG-5.png; next step" in shots_fault(f"folder:{folder}")


def paired_caution(folder: Path, names: list[str]) -> str:
    """What is said of a folder with these images for as many shots."""
    for name in names:
        write_png(folder / f"{name}.png", grey(1))
    plan = make_plan()
    with open_camera(f"folder:{folder}", plan, seed=0) as camera:
        camera.check_shots(list(plan.planned_shots())[: len(names)])
        return str(camera.caution)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["IMG_1", "IMG_2", "IMG_5"], "numbers 3 to 4 are missing between IMG_2 and IMG_5"),
        (["IMG_4", "IMG_6", "IMG_7"], "number 5 is missing between IMG_4 and IMG_6"),
        (["DSC_9998", "DSC_9999", "DSC_0001"], "jump from DSC_0001 to DSC_9998: if the camera"),
        (["IMG_6", "IMG-7", "IMG_8"], "sorted by their text first (IMG-7, IMG_6); number 7 is mi"),
        (["1", "2", "3"], None),
        (["20261201_093015", "20261201_093122", "20261201_093201"], None),
    ],
)
def test_names_whose_order_is_doubtful_are_said(
    tmp_path: Path, names: list[str], words: str | None
) -> None:
    said = paired_caution(tmp_path, names)
    assert words in said if words else ";" not in said


def test_the_images_of_the_first_and_the_last_shot_are_said(tmp_path: Path) -> None:
    said = paired_caution(tmp_path / "order", [f"IMG_{number}" for number in range(1, 13)])
    assert said == "IMG_1.png is shot p0000-top, ..., IMG_12.png is shot p0011-top"
    said = paired_caution(tmp_path / "name", ["p0001-top", "p0000-top", "p0002-top"])
    assert said == "p0000-top.png is shot p0000-top, ..., p0002-top.png is shot p0002-top"


def test_a_folder_without_images_and_one_that_is_missing_are_refused(tmp_path: Path) -> None:
    assert "expected images (.bmp, " in connect_fault(f"folder:{tmp_path}")
    assert f'no such file or folder "{tmp_path}/x"' in connect_fault(f"folder:{tmp_path}/x")
    assert 'no such file or folder ""' in connect_fault("folder:")


@pytest.mark.parametrize(("name", "codec"), [("film.avi", "MJPG"), ("film.mp4", "mp4v")])
def test_a_film_gives_exactly_the_frame_that_is_asked_for(
    tmp_path: Path, name: str, codec: str
) -> None:
    levels = [20 + 6 * number for number in range(30)]
    film = write_film(tmp_path / name, levels, codec)
    plan = make_plan()
    shots = list(plan.planned_shots())
    with open_camera(f"opencv:{film}", plan, seed=0) as camera:
        assert camera.settings()["frames_per_s"] == 25.0
        for number in (0, 17, 16, 29, 3):
            level = float(np.median(camera.frame(shots[number]).image))
            assert abs(level - levels[number]) <= 3  # half a step


def test_a_film_that_ends_too_early_says_so(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", [10, 20])
    plan = make_plan()
    *_, last = plan.planned_shots()
    with (
        open_camera(f"opencv:{film}", plan, seed=0) as camera,
        pytest.raises(CaptureError, match=r"after 2 frames, this shot needs frame \d+; next"),
    ):
        camera.frame(last)


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.avi").write_text("no film")
    assert "expected a video file" in connect_fault(f"opencv:{tmp_path}/film.avi")
    assert "no such file or folder" in connect_fault(f"opencv:{tmp_path}/none.avi")
    write_film(tmp_path / "film.avi", [10])
    plan = make_plan()
    wide = plan.camera.model_copy(update={"width_px": 64})
    fault = connect_fault(f"opencv:{tmp_path}/film.avi", plan.model_copy(update={"camera": wide}))
    assert "width_px: expected 64, got 32" in fault
