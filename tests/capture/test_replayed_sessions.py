"""Sessions from folders and video files: the n-th picture is that of the n-th shot, or none is."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loco_tools import cli
from loco_tools.capture.session import read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.datasets.images import Pixels, read_image, write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Gates, Plan, Shots, load_plan
from loco_tools.progress import Silent

SIZE = (24, 32)
STEP = 10
"""Grey levels between two pictures; a tenth of it is lost in a lossy video."""


def make_plan(good: int, anomalous: int = 1) -> Plan:
    """Good parts for training, then test parts with a damaged edge, in one view without gates."""
    plan = load_plan("flat_connector")
    size = {"height_px": SIZE[0], "width_px": SIZE[1]}
    shots = [
        Shots(split="train", kind="good", parts=good, demo_parts=0),
        Shots(
            split="test",
            kind="structural",
            defect="edge_damage",
            parts=max(anomalous, 1),
            demo_parts=0,
        ),
    ][: 1 + (anomalous > 0)]
    return plan.model_copy(
        update={
            "camera": plan.camera.model_copy(update=size),
            "shots": tuple(shots),
            "gates": Gates.model_validate(dict.fromkeys(Gates.model_fields)),
        }
    )


def picture(number: int) -> Pixels:
    """(24, 32, 3) uint8: grey by its number, with a brighter corner at its upper left."""
    image = np.full((*SIZE, 3), STEP * (number + 1), np.uint8)
    image[:6, :6] += 100
    return image


def write_pictures(folder: Path, names: Sequence[str]) -> Path:
    """The n-th name gets picture n; the suffix chooses the format."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(number))
    return folder


def write_film(path: Path, frames: int, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, SIZE[::-1])
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path


def damage_frame(film: Path, number: int, damage: Callable[[bytes], bytes]) -> None:
    """Replace the data of a frame of a motion-JPEG file, counted from 0; zeros fill its room."""
    content = film.read_bytes()
    starts = [match.start() for match in re.finditer(b"00dc....\xff\xd8\xff", content, re.DOTALL)]
    start = starts[number] + 8
    size = int.from_bytes(content[start - 4 : start], "little")
    data = damage(content[start : start + size])[:size]
    film.write_bytes(content[:start] + data.ljust(size, b"\0") + content[start + size :])


class Replay:
    """A replayed session in a temporary folder, and what it has taken."""

    def __init__(self, tmp_path: Path) -> None:
        self._captures = tmp_path / "captures"

    def run(self, camera: str, plan: Plan) -> str | None:
        """Take all shots; returns the error message of a session that stopped."""
        try:
            capture(SessionRequest(plan, camera=camera, captures=self._captures))
        except CaptureError as error:
            return str(error)
        return None

    def numbers(self) -> list[int]:
        """The number of the picture of every photograph in the journal, in order."""
        images = []
        for folder in sorted(self._captures.glob("*/*")):
            images += [read_image(folder / shot.file) for shot in read_shots(folder)]
        return [round(float(np.median(image)) / STEP) - 1 for image in images]


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    return Replay(tmp_path)


@contextmanager
def temporary_replay() -> Iterator[tuple[Path, Replay]]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), Replay(Path(folder))


def test_a_folder_is_replayed_in_natural_order(tmp_path: Path, replay: Replay) -> None:
    folder = write_pictures(tmp_path / "images", [f"IMG_{n}.png" for n in range(1, 13)])
    assert replay.run(f"folder:{folder}", make_plan(good=10, anomalous=2)) is None
    assert replay.numbers() == list(range(12))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_shot_gets_its_image_or_the_session_stops_at_the_first_bad_one(
    data: st.DataObject,
) -> None:
    """Random numberings and random damage of a folder."""
    numbers = sorted(data.draw(st.sets(st.integers(0, 300), min_size=1, max_size=12)))
    prefix = data.draw(st.sampled_from(["IMG_", "img-", "", "part 2 of 3, ", "Größe"]))
    suffix = st.sampled_from([".png", ".PNG", ".bmp", ".tif"])
    names = []
    for number in numbers:
        padding = data.draw(st.integers(0, 5))
        case = data.draw(st.sampled_from([str.upper, str.lower]))
        names.append(case(prefix) + f"{number:0{padding}d}" + data.draw(suffix))
    bad = data.draw(st.sets(st.integers(0, len(names) - 1), max_size=2))
    with temporary_replay() as (tmp_path, replay):
        folder = write_pictures(tmp_path / "images", names)
        for number in bad:
            path = folder / names[number]
            content = path.read_bytes()
            cut = data.draw(st.integers(0, len(content) - 20))
            path.write_bytes(content[:cut])
        fault = replay.run(f"folder:{folder}", make_plan(good=len(names), anomalous=0))
        taken = replay.numbers()
    assert taken == list(range(len(taken)))
    assert (fault is None) == (not bad) == (len(taken) == len(names))
    assert len(taken) <= min(bad, default=len(names))
    assert fault is None or any(names[number] in fault for number in bad)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1.png", "2.png"], "expected 3 images, .* found 2: .*p0002-top is the first that gets"),
        (["1.png", "2.png", "3.png", "10.png"], r"found 4: the images after 3\.png .*\(10\.png\)"),
        (["p0000-top.png", "x.png"], r"named after a shot .* as p0000-top\.png is, got x\.png"),
        (["1.png", "2.png", "3.heic"], r"expected images that can be read .* got 3\.heic; next"),
    ],
)
def test_missing_surplus_and_unreadable_images_are_refused_before_the_first_shot(
    tmp_path: Path, replay: Replay, names: list[str], words: str
) -> None:
    folder = write_pictures(tmp_path / "images", [name for name in names if "heic" not in name])
    for name in names:
        (folder / name).touch()
    fault = replay.run(f"folder:{folder}", make_plan(good=2))
    assert fault
    assert re.search(words, fault)
    assert replay.numbers() == []


def test_a_named_pipe_and_a_broken_link_are_refused_without_waiting(
    tmp_path: Path, replay: Replay
) -> None:
    folder = write_pictures(tmp_path / "images", ["1.png", "2.png"])
    os.mkfifo(folder / "3.png")
    assert "3.png: expected an image, got a named pipe" in str(
        replay.run(f"folder:{folder}", make_plan(good=2))
    )
    (folder / "3.png").unlink()
    (folder / "3.png").symlink_to(tmp_path / "nowhere.png")
    assert "got a link to a file that is missing" in str(
        replay.run(f"folder:{folder}", make_plan(good=2))
    )


def test_files_that_are_not_used_are_said(
    tmp_path: Path, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "images", ["1.png", "2.png", "3.png"])
    for name in ("1.CR2", "notes.txt", ".hidden"):
        (folder / name).write_text("no image")
    (folder / "older").mkdir()
    notes: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    assert replay.run(f"folder:{folder}", make_plan(good=2)) is None
    assert notes[-1].endswith(f"; not used in {folder}: 1.CR2, notes.txt, older/")


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [
        ("2.png", np.uint16(16), "16-bit RGB, values up to 1920; next step: convert all images"),
        ("2.tif", np.uint16(4), "16-bit RGB, values up to 480; next step"),
        ("2.tif", np.float32(1), "32-bit float RGB; next step"),
    ],
)
def test_images_of_more_than_8_bits_are_refused_before_the_first_shot(
    tmp_path: Path, replay: Replay, name: str, factor: np.generic, words: str
) -> None:
    folder = write_pictures(tmp_path / "images", ["1.png", "3.png"])
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    cv2.imwrite(str(folder / name), picture(1).astype(factor.dtype) * factor, plain)
    fault = str(replay.run(f"folder:{folder}", make_plan(good=2)))
    assert f"{folder / name}: expected 8 bits per value, got {words}" in fault
    assert replay.numbers() == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_photographs_are_saved_upright(
    tmp_path: Path, replay: Replay, orientation: int, suffix: str
) -> None:
    """The bright corner is at the upper left in viewers, however the file is turned."""
    stored = Image.fromarray(picture(3))
    turns = [None, None, 0, 3, 1, 5, 2, 6, 4]  # EXIF orientation -> the transpose that it undoes
    if (turn := turns[orientation]) is not None:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    options = {"quality": 100} if suffix == ".jpg" else {}
    stored.save(tmp_path / "images" / f"1{suffix}", exif=exif, **options)
    assert replay.run(f"folder:{tmp_path / 'images'}", make_plan(good=1, anomalous=0)) is None
    (image,) = (tmp_path / "captures").rglob("*.png")
    assert np.abs(read_image(image).astype(int) - picture(3)).max() <= 4


def test_a_damaged_video_frame_stops_the_session_before_its_first_shot(
    tmp_path: Path, replay: Replay
) -> None:
    film = write_film(tmp_path / "film.avi", 14)
    assert replay.run(f"opencv:{film}", make_plan(good=13)) is None
    assert replay.numbers() == list(range(14))
    shutil.rmtree(tmp_path / "captures")
    sound = film.read_bytes()
    damages: list[Callable[[bytes], bytes]] = [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"\xff\xda", b"\0\0"),  # FFmpeg makes a grey frame of it
    ]
    for damage in damages:
        film.write_bytes(sound)
        damage_frame(film, 4, damage)
        fault = str(replay.run(f"opencv:{film}", make_plan(good=13)))
        assert re.search("expected 14 sound frames, got one that is damaged: frame 5 ", fault)
        assert replay.numbers() == []


@pytest.mark.parametrize(("good", "count"), [(2, 3), (4, 5)])
def test_a_video_of_more_or_fewer_frames_than_shots_is_refused(
    tmp_path: Path, replay: Replay, good: int, count: int
) -> None:
    film = write_film(tmp_path / "film.avi", 4)
    fault = str(replay.run(f"opencv:{film}", make_plan(good=good)))
    assert f"expected {count} frames, one for each shot of the plan in order, got 4" in fault
    assert replay.numbers() == []


@settings(max_examples=10, deadline=None)
@given(
    frames=st.integers(1, 12),
    bad=st.integers(0, 11),
    kept=st.floats(0, 0.99),
    codec=st.sampled_from([("film.avi", "MJPG"), ("film.mkv", "MJPG"), ("film.mp4", "mp4v")]),
)
def test_every_shot_gets_its_frame_or_none_does(
    frames: int, bad: int, kept: float, codec: tuple[str, str]
) -> None:
    """A frame of a video breaks off anywhere, or none does."""
    with temporary_replay() as (tmp_path, replay):
        film = write_film(tmp_path / codec[0], frames, codec[1])
        is_damaged = bad < frames and codec[0] == "film.avi"
        if is_damaged:
            damage_frame(film, bad, lambda data: data[: int(len(data) * kept)])
        fault = replay.run(f"opencv:{film}", make_plan(good=frames, anomalous=0))
        assert replay.numbers() == ([] if fault else list(range(frames)))
    assert is_damaged or fault is None


def test_the_command_says_which_image_is_damaged_and_keeps_the_shots_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shots = list(load_plan("flat_connector").for_demo().planned_shots())
    camera = load_plan("flat_connector").for_demo().camera
    images = tmp_path / "images"
    for number in range(len(shots)):
        image = np.full((camera.height_px, camera.width_px, 3), STEP + number, np.uint8)
        write_png(images / f"photo {number + 1}.png", image)
    damaged = images / "photo 3.png"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    command = ["capture", "--class", "flat_connector", "--demo", "--camera", f"folder:{images}"]
    assert cli.run([*command, "--keep-failing"]) == 1
    assert "photo 3.png: damaged (" in capsys.readouterr().err
    (session,) = (tmp_path / "captures").glob("*/*")
    assert [shot.shot for shot in read_shots(session)] == [shot.shot for shot in shots[:2]]
