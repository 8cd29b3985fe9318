import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import box, brush_region, make_region, make_task, write_export
from PIL import Image

from loco_tools.annotations.convert import convert
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.session_images import SessionImages
from loco_tools.capture.session import read_shots
from loco_tools.datasets.images import read_mask
from loco_tools.errors import AnnotationError
from loco_tools.files import sha256_of

MakeSession = Callable[..., Path]
SHOTS = ("p0004-top", "p0005-top", "p0006-top", "p0007-top")


def found_in(session: Path, *data: dict[str, Any], **more: Any) -> list[str]:
    """The names of the photographs that tasks with such data show."""
    tasks = [make_task(data=each, task=n) for n, each in enumerate(data)]
    export = read_export(write_export(session / "export.json", *tasks))
    shown = SessionImages([session], **more).shown_by(export)
    return [one.shot.shot for place in shown.values() for one in place.values()]


def rewrite_journal(session: Path, shot: str, **changes: Any) -> None:
    lines = [json.loads(line) for line in (session / "shots.jsonl").read_text().splitlines()]
    lines = [line | (changes if line["shot"] == shot else {}) for line in lines]
    (session / "shots.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_our_ids_win_over_content_and_content_over_the_name(make_session: MakeSession) -> None:
    session = make_session()
    sha256 = {shot.shot: shot.sha256 for shot in read_shots(session)}
    name = "/data/upload/1/01234567-p0004-top.png"
    by_hash = {"image": name, "loco_sha256": sha256["p0005-top"]}
    by_id = {"image": "https://anywhere/else.png", "loco_shot": "p0006-top"}
    assert found_in(session, {"image": name}, by_hash, by_id) == [
        "p0004-top",
        "p0005-top",
        "p0006-top",
    ]


def test_an_image_inside_of_the_task_is_identified_by_its_content(
    make_session: MakeSession,
) -> None:
    session = make_session()
    content = base64.b64encode((session / "images" / "p0005-top.png").read_bytes()).decode()
    assert found_in(session, {"image": f"data:image/png;base64,{content}"}) == ["p0005-top"]


def test_an_image_in_a_storage_is_identified_by_its_content(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session, storage = make_session(), tmp_path / "bucket"
    storage.mkdir()
    shutil.copy(session / "images" / "p0005-top.png", storage / "renamed.png")
    data = {"image": "s3://bucket/renamed.png"}
    assert found_in(session, data, storages={"s3://bucket/": storage}) == ["p0005-top"]
    with pytest.raises(AnnotationError, match="is a URL, and nothing is downloaded"):
        found_in(session, data)


@pytest.mark.parametrize("reference", ["/etc/p0004-top.png", "../p0004-top.png", "C:\\p0004.png"])
def test_references_that_leave_the_session_are_refused(
    make_session: MakeSession, reference: str
) -> None:
    with pytest.raises(
        AnnotationError, match=r"refused, it (is an absolute path|leaves its folder)"
    ):
        found_in(make_session(), {"image": reference})


def test_two_photographs_with_equal_content_are_both_named(make_session: MakeSession) -> None:
    session = make_session()
    shutil.copy(session / "images" / "p0004-top.png", session / "images" / "p0005-top.png")
    sha256 = next(shot.sha256 for shot in read_shots(session) if shot.shot == "p0004-top")
    rewrite_journal(session, "p0005-top", sha256=sha256)
    with pytest.raises(AnnotationError, match=r"could be .*p0004-top\.png or .*p0005-top\.png"):
        found_in(session, {"image": "a.png", "loco_sha256": sha256})


def test_regions_on_a_photograph_that_was_taken_again_are_refused(
    make_session: MakeSession,
) -> None:
    data = {"image": "a.png", "loco_shot": "p0004-top", "loco_sha256": "0" * 64}
    with pytest.raises(AnnotationError, match=r"p0004-top\.png, which has been taken again since"):
        found_in(make_session(), data)


def test_a_part_in_two_splits_is_an_error(make_session: MakeSession) -> None:
    session = make_session()
    rewrite_journal(session, "p0004-top", part="p0000")
    with pytest.raises(AnnotationError, match=r"part p0000 lies in two splits, train .* and test"):
        SessionImages([session])


def pages(shots: Any, **task: Any) -> Any:
    """One task that shows every photograph, with a box of its own size on each but the last."""
    regions = [
        brush_region(box(5, 5, 10 + n, 10), id=str(n), item_index=n, to_name="image")
        for n in range(len(SHOTS) - 1)
    ]
    data = {"image": [f"/data/upload/1/0{n}234567-x.png" for n in range(len(SHOTS))], **shots}
    return make_task(*regions, data=data, **task)


def areas_of(session: Path, out: Path, *tasks: Any) -> dict[str, list[int]]:
    report = convert(write_export(session / "labelstudio.json", *tasks), out_root=out)
    lines = [json.loads(line) for line in report.sidecar.read_text().splitlines()]
    return {line["shot"]: [d["area_px"] for d in line["defects"]] for line in lines[-4:]}


EXPECTED = {"p0004-top": [25], "p0005-top": [30], "p0006-top": [35], "p0007-top": []}


def by_part(shots: dict[str, list[int]]) -> dict[str, list[int]]:
    return dict(sorted(shots.items()))


def test_a_task_with_several_images_has_regions_on_each(
    make_session: MakeSession, tmp_path: Path
) -> None:
    task = pages({"loco_shot": list(SHOTS)})
    assert by_part(areas_of(make_session(), tmp_path, task)) == EXPECTED


def test_image_tags_named_like_their_data_have_regions_on_each_image(
    make_session: MakeSession, tmp_path: Path
) -> None:
    keys = ("top", "left", "right", "back")
    data = {key: f"{shot}.png" for key, shot in zip(keys, SHOTS, strict=True)}
    ids = {"loco_shot": dict(zip(keys, SHOTS, strict=True))}
    regions = [
        brush_region(box(5, 5, 10 + n, 10), id=str(n), to_name=key)
        for n, key in enumerate(keys[:-1])
    ]
    task = make_task(*regions, data={**data, **ids})
    assert by_part(areas_of(make_session(), tmp_path, task)) == EXPECTED


def test_ambiguous_image_tags_are_reported(tmp_path: Path) -> None:
    data = {"image": "a.png", "image2": "b.png"}
    task = make_task(make_region(to_name="img1"), make_region(id="b", to_name="img2"), data=data)
    export = read_export(write_export(tmp_path / "export.json", task))
    assert export.regions() == []
    reason = 'lies on "img1", which is not among the images in the task\'s data (image, image2)'
    assert export.all_skipped()[0].reason.startswith(reason)


def test_a_photograph_that_is_stored_turned_gets_its_masks_turned(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    path = session / "images" / "p0004-top.png"
    exif = Image.Exif()
    exif[0x0112] = 8
    with Image.open(path) as image:
        image.load()
        width, height = image.size
        image.save(path, exif=exif)
    content = sha256_of(path)
    rewrite_journal(session, "p0004-top", sha256=content)
    painted = np.zeros((width, height), dtype=bool)
    painted[3:9, 2:40] = True
    turned = brush_region(painted, original_width=height, original_height=width)
    tasks = [make_task(turned, shot=SHOTS[0])]
    tasks += [make_task(task=shot, shot=shot) for shot in SHOTS[1:]]
    report = convert(write_export(session / "labelstudio.json", *tasks), out_root=tmp_path)
    mask = read_mask(report.folder / "ground_truth/structural_anomalies/000/000.png")
    assert np.array_equal(mask > 0, np.rot90(painted, -1))


def test_verdicts_that_do_not_fit_what_was_drawn_are_noted(
    make_session: MakeSession, tmp_path: Path
) -> None:
    def verdict(word: str, index: int) -> dict[str, Any]:
        value = {"choices": [word]}
        return {"id": f"v{index}", "type": "choices", "item_index": index, "value": value}

    task = pages({"loco_shot": list(SHOTS)})
    words = ("good", "anomalous", "unsure", "anomalous")
    task["annotations"][0]["result"] += [verdict(word, n) for n, word in enumerate(words)]
    export = write_export(make_session() / "labelstudio.json", task)
    notes = convert(export, out_root=tmp_path).notes
    assert [note for note in notes if "called" in note] == [
        'test/structural_anomalies/000.png: called "good", with 1 marked defect',
        'test/structural_anomalies/002.png: called "unsure", with 1 marked defect',
        'test/good/001.png: called "anomalous", with no marked defect',
    ]
