"""Each fault is planted in a sound class and must be found, with nothing raised."""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from loco_tools.datasets import load
from loco_tools.datasets.images import write_png
from loco_tools.datasets.validation import validate
from loco_tools.datasets.validation.findings import CODES
from loco_tools.errors import DatasetError
from loco_tools.files import sha256_of

Plant = Callable[[Path], object]
MASK = "ground_truth/logical_anomalies/000/000.png"
SCRATCH = "ground_truth/structural_anomalies/000/000.png"
IMAGE = "test/logical_anomalies/000.png"


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builders write thousands of files; syncing each takes longer than all tests do."""
    monkeypatch.setattr("loco_tools.files.os.fsync", lambda _stream: None)


def codes(folder: Path) -> set[str]:
    return {finding.code for finding in validate(folder).findings}


def copy(source: str, target: str) -> Plant:
    def plant(folder: Path) -> None:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / source, folder / target)

    return plant


def move(source: str, target: str) -> Plant:
    def plant(folder: Path) -> None:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(folder / target)

    return plant


def remove(path: str) -> Plant:
    def plant(folder: Path) -> None:
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return plant


def text(path: str, content: str = "hello") -> Plant:
    def plant(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)

    return plant


def truncate(path: str) -> Plant:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:-20])


def redraw(path: str, change: Callable[[Image.Image], Image.Image], **options: object) -> Plant:
    def plant(folder: Path) -> None:
        with Image.open(folder / path) as image:
            image.load()
            changed = change(image)
        changed.save(folder / path, **options)

    return plant


def pixels(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    def plant(folder: Path) -> None:
        found = cv2.imread(str(folder / path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / path), change(found))

    return plant


def link(path: str, target: str) -> Plant:
    return lambda folder: (folder / path).symlink_to(target)


def config(index: int, **changes: object) -> Plant:
    """Change an entry of the configuration; None removes a key."""

    def plant(folder: Path) -> None:
        path = folder / "defects_config.json"
        content = json.loads(path.read_text())
        content[index] = {k: v for k, v in {**content[index], **changes}.items() if v is not None}
        path.write_text(json.dumps(content))

    return plant


def sidecar(*lines: object) -> Plant:
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return lambda folder: folder.with_name(f"{folder.name}.jsonl").write_text(content)


def bomb(path: str) -> Plant:
    """A PNG of a few bytes that claims 60000 x 60000 pixels."""

    def plant(folder: Path) -> None:
        def chunk(name: bytes, data: bytes) -> bytes:
            return (
                struct.pack(">I", len(data))
                + name
                + data
                + struct.pack(">I", zlib.crc32(name + data))
            )

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
        content = (
            b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        )
        (folder / path).write_bytes(content)

    return plant


def with_orientation(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    redraw("train/good/000.png", lambda image: image, exif=exif)(folder)


def in_red(mask: Image.Image) -> Image.Image:
    return Image.merge("RGB", [mask, *[Image.new("L", mask.size)] * 2])


def audit(folder: Path) -> None:
    """The record that a conversion leaves next to the class."""
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    folder.with_name(f"{folder.name}.audit.json").write_text(json.dumps({"files": hashes}))


def all_of(*plants: Plant) -> Plant:
    return lambda folder: [plant(folder) for plant in plants]


def dot(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """A mask of a single pixel."""

    def change(mask: np.ndarray) -> np.ndarray:
        changed = np.zeros_like(mask)
        changed[3, 3] = value
        return changed

    return change


def smudge(mask: np.ndarray) -> np.ndarray:
    changed = mask.copy()
    changed[0, :4] = 7
    return changed


def whole_sidecar(**parts: str) -> Plant:
    def plant(folder: Path) -> None:
        lines = [
            {"image": path.relative_to(folder).as_posix(), "part": None, "view": None}
            for split in ("train", "validation", "test")
            for path in sorted((folder / split).rglob("*.png"))
        ]
        for line in lines:
            line["part"] = parts.get(line["image"].split("/")[0], line["image"])
        sidecar(*lines)(folder)

    return plant


LOCO_FAULTS: list[tuple[str, str, Plant]] = [
    ("missing_folder", "train/good", remove("train/good")),
    ("too_few_images", ".", remove("test/good")),
    (
        "too_few_images",
        ".",
        all_of(remove("validation"), *[remove(f"train/good/{n:03d}.png") for n in range(3)]),
    ),
    ("images_elsewhere", ".", move("train/good", "train/okay")),
    ("images_elsewhere", ".", all_of(move("train", "images"), link("train", "images"))),
    ("image_not_read", "train/good/004.heic", text("train/good/004.heic")),
    (
        "image_not_read",
        MASK.replace("000.png", "001.gif"),
        text(MASK.replace("000.png", "001.gif")),
    ),
    (
        "name_not_text",
        "test/good/a\\nb.png",
        move("test/good/000.png", "test/good/a\nb.png"),
    ),
    (
        "name_not_text",
        "test/good/\\udcff.png",
        move("test/good/000.png", os.fsdecode(b"test/good/\xff.png")),
    ),
    ("missing_folder", "test/good", remove("test/good")),
    ("missing_folder", "ground_truth/logical_anomalies", remove("ground_truth/logical_anomalies")),
    ("missing_validation", "validation/good", remove("validation")),
    ("missing_kind", "test/structural_anomalies", remove("test/structural_anomalies")),
    ("unknown_kind", "test/scratch", move(IMAGE, "test/scratch/000.png")),
    ("unknown_kind", "ground_truth/dents", lambda f: (f / "ground_truth/dents").mkdir()),
    ("unexpected_folder", "val", copy("train/good/000.png", "val/good/000.png")),
    ("stray_folder", "notes", text("notes/readme.md")),
    ("stray_file", "train/good/Thumbs.db", text("train/good/Thumbs.db")),
    ("stray_file", "notes.txt", text("notes.txt")),
    ("stray_image", "preview.png", copy("train/good/000.png", "preview.png")),
    ("stray_image", "train/good/._0.png", copy("train/good/000.png", "train/good/._0.png")),
    ("linked_file", ".", all_of(move(IMAGE, "../blob"), link(IMAGE, "../../../blob"))),
    ("linked_folder", "more", link("more", "../..")),
    ("broken_link", "train/good/004.png", link("train/good/004.png", "nowhere.png")),
    ("linked_folder", "train/again", link("train/again", "good")),
    ("special_file", "train/good/pipe.png", lambda f: os.mkfifo(f / "train/good/pipe.png")),
    ("odd_name", "train/good", move("train/good/001.png", "train/good/img (1).png")),
    ("odd_name", "train/good", move("train/good/003.png", "train/good/3.png")),
    ("gap_in_numbers", "train/good", remove("train/good/001.png")),
    (
        "name_case",
        "train/good/a.png",
        all_of(
            copy("train/good/000.png", "train/good/a.png"),
            copy("train/good/001.png", "train/good/A.png"),
        ),
    ),
    ("same_stem", "train/good/000.png", copy("train/good/001.png", "train/good/000.jpg")),
    ("damaged", "train/good/001.png", truncate("train/good/001.png")),
    ("damaged", "train/good/001.png", text("train/good/001.png", "")),
    ("damaged", MASK, truncate(MASK)),
    ("image_bomb", "train/good/001.png", bomb("train/good/001.png")),
    ("image_mode", IMAGE, redraw(IMAGE, lambda image: image.convert("RGBA"))),
    ("image_mode", IMAGE, redraw(IMAGE, lambda image: image.convert("P"))),
    ("image_mode", IMAGE, pixels(IMAGE, lambda image: image.astype(np.uint16) * 257)),
    (
        "image_depth",
        "train/good/0.tif",
        lambda f: Image.fromarray(np.zeros((9, 9), np.float32)).save(f / "train/good/0.tif"),
    ),
    ("image_levels", IMAGE, pixels(IMAGE, lambda image: image.astype(np.uint16) * 10)),
    ("image_gray", IMAGE, redraw(IMAGE, lambda image: image.convert("L"))),
    ("not_png", "train/good", copy("train/good/000.png", "train/good/004.jpg")),
    ("wrong_suffix", IMAGE, redraw(IMAGE, lambda image: image, format="BMP")),
    ("exif_orientation", "train/good/000.png", with_orientation),
    ("mixed_sizes", "train/good/001.png", redraw("train/good/001.png", lambda i: i.resize((9, 9)))),
    ("image_in_two_splits", "test/good/003.png", copy("train/good/000.png", "test/good/003.png")),
    (
        "image_in_two_splits",
        "test/good/003.png",
        all_of(  # stored otherwise, the same pixels
            copy("train/good/000.png", "test/good/003.png"),
            redraw("test/good/003.png", lambda image: image, compress_level=0),
        ),
    ),
    ("image_in_two_kinds", IMAGE, copy("test/good/000.png", IMAGE)),
    ("image_repeated", "train/good/004.png", copy("train/good/000.png", "train/good/004.png")),
    ("image_without_mask", IMAGE, remove("ground_truth/logical_anomalies/000")),
    ("image_without_mask", IMAGE, remove(MASK)),
    (
        "mask_without_image",
        "ground_truth/logical_anomalies/001",
        remove("test/logical_anomalies/001.png"),
    ),
    (
        "good_with_mask",
        "ground_truth/good/000/000.png",
        copy(MASK, "ground_truth/good/000/000.png"),
    ),
    ("mask_not_png", MASK.replace("png", "bmp"), move(MASK, MASK.replace("png", "bmp"))),
    ("mask_in_colour", MASK, redraw(MASK, lambda mask: mask.convert("RGB"))),
    ("mask_mode", MASK, redraw(MASK, in_red)),
    ("mask_mode", MASK, redraw(MASK, lambda mask: mask.convert("RGBA"))),
    ("mask_mode", MASK, redraw(MASK, lambda mask: mask.convert("P"))),
    ("mask_mode", MASK, redraw(MASK, lambda mask: mask.convert("LA"))),
    ("mask_mode", MASK, redraw(MASK, lambda mask: mask.convert("1"))),
    ("mask_mode", MASK, pixels(MASK, lambda mask: mask.astype(np.uint16) * 257)),
    ("mask_size", MASK, redraw(MASK, lambda mask: mask.resize((24, 16), Image.Resampling.NEAREST))),
    ("empty_mask", MASK, pixels(MASK, np.zeros_like)),
    ("mask_covers_most", MASK, pixels(MASK, lambda mask: 255 - mask)),
    ("two_values", MASK, pixels(MASK, smudge)),
    ("value_not_in_config", MASK, pixels(MASK, lambda mask: mask // 255 * 17)),
    ("config_missing", "defects_config.json", remove("defects_config.json")),
    ("config_invalid", "defects_config.json", text("defects_config.json", "[{")),
    ("config_invalid", "defects_config.json", text("defects_config.json", "{}")),
    ("config_invalid", "defects_config.json", text("defects_config.json", "[" * 200_000)),
    ("config_invalid", "defects_config.json", text("defects_config.json", "[3]")),
    ("config_keys", "defects_config.json", config(0, saturation_threshold=None)),
    ("config_keys", "defects_config.json", config(0, colour="red")),
    ("config_name", "defects_config.json", config(0, defect_name="")),
    ("config_pixel_value", "defects_config.json", config(0, pixel_value=256)),
    ("config_pixel_value", "defects_config.json", config(0, pixel_value=True)),
    ("config_threshold_type", "defects_config.json", config(2, saturation_threshold=1)),
    ("config_threshold_type", "defects_config.json", config(0, saturation_threshold=20.0)),
    ("config_threshold_type", "defects_config.json", config(0, saturation_threshold="20")),
    ("config_threshold_type", "defects_config.json", config(0, relative_saturation=1)),
    ("config_threshold_range", "defects_config.json", config(2, saturation_threshold=1.4)),
    ("config_threshold_range", "defects_config.json", config(2, saturation_threshold=float("nan"))),
    ("config_threshold_range", "defects_config.json", config(0, saturation_threshold=0)),
    ("config_threshold_range", "defects_config.json", config(0, saturation_threshold=10**299)),
    ("duplicate_value", "defects_config.json", config(1, pixel_value=255)),
    ("duplicate_name", "defects_config.json", config(1, defect_name="scratch")),
    ("threshold_above_area", MASK, config(0, saturation_threshold=41)),
    (
        "saturation_zero",
        SCRATCH,
        all_of(config(2, saturation_threshold=0.4), pixels(SCRATCH, dot(100))),
    ),
    ("defect_unused", "defects_config.json", remove("ground_truth/logical_anomalies/001/001.png")),
    ("part_in_two_splits", "test/good/000.png", whole_sidecar(train="p1", test="p1")),
    ("sidecar_invalid", "../plate.jsonl", sidecar("{")),
    ("sidecar_invalid", "../plate.jsonl", sidecar({"image": "train/good/000.png", "part": 3})),
    ("sidecar_stale", "../plate.jsonl", sidecar({"image": "train/good/999.png"})),
    ("sidecar_incomplete", "../plate.jsonl", sidecar({"image": "train/good/000.png"})),
    (
        "image_changed",
        "train/good/000.png",
        sidecar({"image": "train/good/000.png", "sha256": "0"}),
    ),
    ("file_changed", MASK, all_of(audit, pixels(MASK, smudge))),
    ("file_changed", IMAGE, all_of(audit, redraw(IMAGE, lambda image: image, compress_level=0))),
    ("file_gone", "readme.txt", all_of(text("readme.txt"), audit, remove("readme.txt"))),
    ("file_added", "notes/a.txt", all_of(audit, text("notes/a.txt"))),
    ("audit_invalid", "../plate.audit.json", text("../plate.audit.json", "[" * 9999)),
]

AD_MASK = "ground_truth/crack/000_mask.png"
AD_FAULTS: list[tuple[str, str, Plant]] = [
    ("missing_folder", "train/good", remove("train")),
    ("missing_folder", "ground_truth/crack", remove("ground_truth/crack")),
    ("missing_validation", "validation/good", lambda folder: (folder / "validation").mkdir()),
    ("missing_kind", "test", all_of(remove("test/crack"), remove("test/dent"))),
    ("unexpected_folder", "train/crack", copy("test/crack/000.png", "train/crack/000.png")),
    ("stray_image", "ground_truth/000.png", copy(AD_MASK, "ground_truth/000.png")),
    (
        "folder_name",
        "test/dent2",
        all_of(move("test/dent", "test/dent2"), move("ground_truth/dent", "ground_truth/dent2")),
    ),
    ("gap_in_numbers", "test/crack", all_of(remove("test/crack/000.png"), remove(AD_MASK))),
    ("image_without_mask", "test/crack/000.png", remove(AD_MASK)),
    ("mask_without_image", AD_MASK, remove("test/crack/000.png")),
    ("mask_without_image", "ground_truth/dent", remove("test/dent")),
    ("two_masks", "test/crack/000.png", copy(AD_MASK, "ground_truth/crack/000.png")),
    (
        "good_with_mask",
        "ground_truth/good/000_mask.png",
        copy(AD_MASK, "ground_truth/good/000_mask.png"),
    ),
    (
        "mask_not_png",
        AD_MASK.replace("png", "bmp"),
        all_of(
            redraw(AD_MASK, lambda mask: mask, format="BMP"),
            move(AD_MASK, AD_MASK.replace("png", "bmp")),
        ),
    ),
    ("mask_mode", AD_MASK, redraw(AD_MASK, in_red)),
    ("mask_in_colour", AD_MASK, redraw(AD_MASK, lambda mask: mask.convert("RGB"))),
    ("mask_size", AD_MASK, redraw(AD_MASK, lambda mask: mask.resize((24, 16)))),
    (
        "mask_lossy",
        AD_MASK.replace("png", "jpg"),
        all_of(
            redraw(AD_MASK, lambda mask: mask, format="JPEG"),
            move(AD_MASK, AD_MASK.replace("png", "jpg")),
        ),
    ),
    (
        "good_misnamed",
        "test/Good",
        all_of(remove("ground_truth/dent"), move("test/good", "test/Good")),
    ),
    ("mask_values", AD_MASK, pixels(AD_MASK, smudge)),
    ("empty_mask", AD_MASK, pixels(AD_MASK, np.zeros_like)),
    ("image_in_two_splits", "test/good/003.png", copy("train/good/000.png", "test/good/003.png")),
]


def refused_by_loader(folder: Path) -> bool:
    try:
        load(folder)
    except (DatasetError, RecursionError):
        return True
    return False


def ids(faults: list[tuple[str, str, Plant]]) -> list[str]:
    return [f"{code}-{number}" for number, (code, _, _) in enumerate(faults)]


@pytest.mark.parametrize(("code", "file", "plant"), LOCO_FAULTS, ids=ids(LOCO_FAULTS))
def test_a_fault_planted_in_a_loco_class_is_found(
    make_loco_class: Callable[..., Path], code: str, file: str, plant: Plant
) -> None:
    folder = make_loco_class()
    plant(folder)
    found = [f for f in validate(folder).findings if f.code == code and f.file == file]
    assert found, validate(folder).describe()
    assert found[0].severity == CODES[code]
    assert found[0].expected
    assert found[0].found
    assert found[0].next_step
    assert validate(folder).errors or not refused_by_loader(folder)


@pytest.mark.parametrize(("code", "file", "plant"), AD_FAULTS, ids=ids(AD_FAULTS))
def test_a_fault_planted_in_an_ad_class_is_found(
    make_ad_class: Callable[..., Path], code: str, file: str, plant: Plant
) -> None:
    folder = make_ad_class(defects={"crack": 2, "dent": 1})
    plant(folder)
    findings = validate(folder)
    assert (code, file) in {(f.code, f.file) for f in findings.findings}
    assert findings.errors or not refused_by_loader(folder)


def test_every_code_has_a_test_that_plants_it() -> None:
    planted = {code for code, _, _ in (*LOCO_FAULTS, *AD_FAULTS)}
    assert set(CODES) - planted == {"no_class", "unreadable"}


def test_sound_classes_give_no_findings(
    make_loco_class: Callable[..., Path], make_ad_class: Callable[..., Path]
) -> None:
    assert validate(make_loco_class()).findings == ()
    assert validate(make_ad_class(defects={"crack": 2})).findings == ()
    assert validate(make_ad_class("gray", gray=True, defects={"crack": 2})).findings == ()
    plain = make_ad_class("plain", mask_name="{stem}.png", validation=2, defects={"crack": 2})
    assert validate(plain).findings == ()


def test_a_sound_sidecar_gives_no_findings(make_loco_class: Callable[..., Path]) -> None:
    folder = make_loco_class()
    whole_sidecar()(folder)
    assert validate(folder).findings == ()


def test_views_may_differ_in_size_when_the_sidecar_names_them(
    make_loco_class: Callable[..., Path],
) -> None:
    folder = make_loco_class()
    small = folder / "train/good/001.png"
    write_png(small, np.full((8, 8, 3), 90, np.uint8))
    assert codes(folder) == {"mixed_sizes"}
    whole_sidecar()(folder)
    path = folder.with_name("plate.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["view"] = "side" if line["image"] == "train/good/001.png" else "top"
    sidecar(*lines)(folder)
    assert codes(folder) == set()


def test_an_autovi_class_is_recognised(make_loco_class: Callable[..., Path]) -> None:
    folder = make_loco_class()
    for kind, name in (("logical_anomalies", "missing"), ("structural_anomalies", "scratches")):
        for top in ("test", "ground_truth"):
            (folder / top / kind).rename(folder / top / name)
    redraw("ground_truth/missing/000/000.png", lambda mask: mask.convert("RGB"))(folder)
    findings = validate(folder)
    assert findings.layout == "autovi"
    assert findings.findings == ()


def test_all_faults_are_found_in_one_pass_and_in_the_same_order(
    make_loco_class: Callable[..., Path],
) -> None:
    folder = make_loco_class()
    truncate("train/good/000.png")(folder)
    pixels(MASK, smudge)(folder)
    config(2, saturation_threshold=1)(folder)
    text("notes.txt")(folder)
    findings = validate(folder)
    assert [f.code for f in findings.findings] == [
        "config_threshold_type", "two_values", "damaged", "stray_file",
    ]  # fmt: skip
    assert (findings.errors, findings.warnings) == (3, 1)
    assert validate(folder) == findings
    record = json.loads(json.dumps(findings.as_record(), allow_nan=False))
    assert list(record) == ["path", "layout", "errors", "warnings", "findings"]
    assert list(record["findings"][0]) == [
        "severity", "code", "file", "expected", "found", "mend",
    ]  # fmt: skip


def test_the_description_names_file_expectation_finding_and_next_step(
    make_loco_class: Callable[..., Path],
) -> None:
    folder = make_loco_class()
    config(2, saturation_threshold=1)(folder)
    shown = validate(folder).describe()
    assert "error config_threshold_type: defects_config.json: expected a number with a" in shown
    assert 'found entry 2 ("scratch"): 1' in shown
    assert "next step: write 1.0" in shown
    assert shown.endswith(f"{folder}: mvtec_loco; 1 error, 0 warnings")


def test_only_the_description_shortens_many_findings_of_one_code(
    make_loco_class: Callable[..., Path],
) -> None:
    folder = make_loco_class(train=9)
    for number in range(9):
        truncate(f"train/good/{number:03d}.png")(folder)
    findings = validate(folder)
    assert findings.errors == 9
    assert "... and 4 more of damaged (all of them with --json)" in findings.describe()


def test_a_folder_that_is_not_a_class_is_one_finding_with_a_next_step(
    make_loco_class: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_loco_class()
    (finding,) = validate(folder.parent).findings
    assert finding.code == "no_class"
    assert finding.next_step == "name one of its classes: plate"
    (tmp_path / "empty").mkdir()
    assert codes(tmp_path / "empty") == {"no_class"}


def test_a_path_that_is_not_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected the folder of a dataset class, got no such"):
        validate(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_listed_is_reported(
    make_loco_class: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_loco_class()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path) == folder / "train/good":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("loco_tools.datasets.validation.class_tree.os.scandir", refuse)
    found = {(f.code, f.file, f.found) for f in validate(folder).findings}
    assert ("unreadable", "train/good", "Permission denied") in found


def test_names_that_are_not_valid_text_can_be_printed(make_loco_class: Callable[..., Path]) -> None:
    folder = make_loco_class()
    name = os.fsdecode(b"x\xff\n\x1b[31m.txt")
    (folder / name).write_text("")
    (finding,) = validate(folder).findings
    assert finding.code == "stray_file"
    assert finding.file.isprintable()
    json.dumps(finding.file).encode("utf-8")
