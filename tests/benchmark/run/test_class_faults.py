"""Faults of the data stop a benchmark before anything is fitted, unless they are accepted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import loco_tools
from loco_tools import cli
from loco_tools.benchmark.run.runner import read_run
from loco_tools.datasets import check
from loco_tools.datasets.validation import validate
from loco_tools.errors import BenchmarkError, DatasetError, DatasetWarning

Make = Callable[..., Path]
FAST = ["--methods", "patchcore", "--backbone", "scattering", "--size", "64", "--workers", "0"]


def save_as(path: Path, kind: str, **options: object) -> Path:
    """Store an image in another format, under its suffix."""
    target = path.with_suffix({"JPEG": ".jpg", "TIFF": ".tif"}[kind])
    with Image.open(path) as image:
        image.load()
        image.save(target, kind, **options)
    path.unlink()
    return target


def lossy_masks(folder: Path) -> None:
    for path in sorted((folder / "ground_truth/crack").iterdir()):
        save_as(path, "JPEG")


def turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    save_as(folder / "test/crack/000.png", "JPEG", exif=exif)


def leaked(folder: Path) -> None:
    shutil.copy(folder / "train/good/000.png", folder / "test/good/003.png")


def of_twelve_bits(folder: Path) -> None:
    for path in folder.glob("t*/*/*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)


def of_floats(folder: Path) -> None:
    path = folder / "train/good/000.png"
    with Image.open(path) as image:
        image.convert("F").save(path.with_suffix(".tif"))
    path.unlink()


def not_read(folder: Path) -> None:
    path = folder / "train/good/000.png"
    path.rename(path.with_suffix(".jfif"))


def pointers(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for path in folder.glob("train/good/*.png"):
        path.write_text(text)


def good_only(folder: Path) -> None:
    for top in ("test", "ground_truth"):
        shutil.rmtree(folder / top / "crack")


def one_image(folder: Path) -> None:
    for path in sorted((folder / "train/good").iterdir())[1:]:
        path.unlink()


STOPPING = {
    "mask_lossy": lossy_masks,
    "exif_orientation": turned,
    "image_in_two_splits": leaked,
    "image_levels": of_twelve_bits,
    "image_depth": of_floats,
    "image_not_read": not_read,
    "damaged": pointers,
    "too_few_images": good_only,
}


@pytest.mark.parametrize("code", STOPPING)
def test_validate_bench_and_dry_run_name_the_same_fault(
    code: str, make_ad_class: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_ad_class(defects={"crack": 2})
    STOPPING[code](folder)
    assert code in {f.code for f in check(folder).stopping}
    assert code in {f.code for f in validate(folder).stopping}
    command = ["bench", *FAST, "--data", str(folder), "--out", str(tmp_path / "run")]
    for words, said in (([], 2), (["--dry-run"], 1)):
        assert cli.run([*command, *words]) == 1
        assert f"bottle: error {code}: " in capsys.readouterr()[said - 1]
    assert not (tmp_path / "run" / "results.csv").exists()


def test_accepted_faults_are_in_the_output_the_record_and_the_report(
    make_ad_class: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make_ad_class(defects={"crack": 2}), tmp_path / "run"
    lossy_masks(folder)
    (folder / "val").mkdir()
    shutil.copy(folder / "train/good/000.png", folder / "val/000.png")
    command = ["bench", *FAST, "--data", str(folder), "--out", str(out)]
    assert cli.run([*command, "--despite-findings"]) == 0
    assert "bottle: 2 errors accepted, 3 warnings" in capsys.readouterr().out
    (info,) = read_run(out).classes
    assert (info.data_errors, info.data_warnings) == (2, 3)
    assert any("mask_lossy" in line for line in info.findings)
    assert any("unexpected_folder: val:" in line for line in info.findings)
    page = (out / "report.html").read_text()
    assert "The data has faults that change these results" in page
    assert "error mask_lossy: ground_truth/crack/000_mask.jpg" in page
    assert "2 errors of the data accepted" in (out / "report.md").read_text()


def test_warnings_are_counted_and_do_not_stop_a_run(
    make_ad_class: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make_ad_class(defects={"crack": 1}), tmp_path / "run"
    mask = folder / "ground_truth/crack/000_mask.png"
    cv2.imwrite(str(mask), 255 - cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
    assert cli.run(["bench", *FAST, "--data", str(folder), "--out", str(out), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["data_errors"], outcome["data_warnings"]) == (0, 1)
    page = (out / "report.html").read_text()
    assert "faults that change" not in page
    assert "warning mask_covers_most" in page


def test_the_faults_of_every_class_are_listed(
    make_ad_class: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_ad_class("sound").parent
    one_image(make_ad_class("small"))
    (make_ad_class("broken") / "ground_truth/crack/001_mask.png").unlink()
    command = ["bench", *FAST, "--data", str(root), "--out", str(tmp_path / "run")]
    assert cli.run([*command, "--dry-run"]) == 1
    printed = capsys.readouterr().out
    assert "patchcore on sound, seed 0  would run" in printed
    assert "small: error too_few_images: .: expected at least 2 training images" in printed
    assert "broken: error image_without_mask: test/crack/001.png" in printed
    with pytest.raises(BenchmarkError, match="2 of 3 classes cannot") as caught:
        loco_tools.bench(root, ["patchcore"], backbone="scattering", out=tmp_path / "run")
    assert "nothing was fitted" in str(caught.value)
    with pytest.raises(DatasetError, match=r"test/crack/001\.png: expected one mask"):
        loco_tools.load(root)
    assert cli.run(["show", str(root), "--out", str(tmp_path / "sheets")]) == 1
    shown = capsys.readouterr()
    assert "sound (mvtec_ad)" in shown.out
    assert "small (mvtec_ad)" in shown.out
    assert "test/crack/001.png" in shown.err


def test_load_warns_once_for_each_class(make_ad_class: Make) -> None:
    folder = make_ad_class(defects={"crack": 2})
    lossy_masks(folder)
    not_read(folder)
    with pytest.warns(DatasetWarning) as caught:
        loco_tools.load(folder.parent)
    (message,) = [str(warning.message) for warning in caught]
    assert "error mask_lossy: ground_truth/crack/000_mask.jpg" in message
    assert "(and 1 more of mask_lossy)" in message
    assert "image_not_read: train/good/000.jfif" in message


@pytest.mark.parametrize("seeds", [(-1,), (2**40,)])
def test_seeds_that_no_generator_takes_are_refused(
    seeds: tuple[int, ...], make_ad_class: Make, tmp_path: Path
) -> None:
    with pytest.raises(BenchmarkError, match="seeds: expected whole numbers from 0 to"):
        loco_tools.bench(
            make_ad_class(), ["patchcore"], backbone="scattering", seeds=seeds, out=tmp_path / "run"
        )


def test_bench_finds_an_image_of_another_split_by_its_pixels(
    make_ad_class: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_ad_class()
    source = next((folder / "train/good").iterdir())
    with Image.open(source) as image:
        image.save(folder / "test/good" / "leak.png", compress_level=1)
    assert (folder / "test/good" / "leak.png").read_bytes() != source.read_bytes()
    data = ["--data", str(folder), "--out", str(tmp_path / "run")]
    assert cli.run(["bench", *FAST, *data]) == 1
    assert "image_in_two_splits" in capsys.readouterr().err
    assert check(folder, compare_pixels=True).stopping
