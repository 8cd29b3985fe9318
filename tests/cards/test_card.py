import json
from datetime import UTC, datetime

import pytest

import loco_tools
from loco_tools import definitions
from loco_tools.capture.session import CameraRecord, Session, write_session
from loco_tools.cards.card import write_card
from loco_tools.datasets.data_hash import data_hash
from loco_tools.plan import load_plan


def write_records(folder, **changes):
    dataset = loco_tools.load(folder)
    lines = [
        json.dumps(
            {
                "image": sample.image_path.relative_to(folder).as_posix(),
                "part": f"p{number}",
                "view": "top",
                "session": "s1",
                "simulated": True,
                "annotators": ["1"],
                **changes,
            }
        )
        for number, sample in enumerate(dataset)
    ]
    folder.with_name(f"{folder.name}.jsonl").write_text("\n".join(lines))


def write_session_of(captures, name, *, simulated=True):
    settings = {"exposure_us": 12000.0}
    session = Session(
        session="s1",
        created=datetime(2026, 1, 2, tzinfo=UTC).isoformat(),
        loco_tools="0.1.0",
        simulated=simulated,
        seed=0,
        camera=CameraRecord(identity="twin", requested=settings, actual={"exposure_us": 11980.0}),
        px_per_mm={"top": 2.0},
        plan=load_plan("angle"),
    )
    write_session(captures / name / "s1", session)


@pytest.fixture
def folder(make_loco_class, tmp_path):
    folder = make_loco_class()
    write_records(folder)
    write_session_of(tmp_path / "captures", "plate")
    return folder


def test_a_card_describes_the_class(folder, tmp_path):
    text = write_card(folder, tmp_path / "plate.md").read_text()
    for message in (
        "# Angle bracket",
        "**Simulated: all 13 images were rendered by a digital twin; they are not photographs.**",
        "| train | good | 4 | 4 | 0 |",
        "| test | logical_anomalies | 2 | 2 | 3 |",
        "13 images of 48 x 32 px; views: top.",
        "| `missing_hole` | logical | 255 | 20 px | 2 | 2 | 40, 40, 40 px (10.0, 10.0, 10.0 mm²) |",
        "| `extra_hole` | logical | 254 | 0.5 of its area | 1 | 1 |",
        "| exposure_us | 12000 | 11980 |",
        "px per mm: top 2.00",
        f"`{data_hash(folder)}`",
        "Not stated in the class folder",
        "- Defects with fewer than 10 test images: `missing_hole` 2",
        "- One person marked all defects",
    ):
        assert message in text


def test_the_hub_reads_the_front_matter(folder, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    (folder / "license.txt").write_text("Creative Commons\nAttribution 4.0 International\n")
    card = hub.DatasetCard.load(write_card(folder, tmp_path / "plate.md"))
    assert card.data.license == "cc-by-4.0"
    assert "synthetic" in card.data.tags
    assert card.data.size_categories == ["n<1K"]


def test_text_that_people_wrote_is_kept(folder, tmp_path):
    path = write_card(folder, tmp_path / "plate.md")
    text = path.read_text()
    text = text.replace("## Splits", "## Pictures\n\nBy hand.").replace("unknown", "mit", 1)
    path.write_text(text)
    (folder / "train/good/003.png").unlink()
    renewed = write_card(folder, path).read_text()
    assert "## Pictures\n\nBy hand.\n\n<!-- generated: splits -->" in renewed
    assert "license: mit" in renewed
    assert "| train | good | 3 | 3 | 0 |" in renewed


def test_writing_it_twice_changes_nothing(folder, tmp_path):
    path = write_card(folder, tmp_path / "plate.md")
    before = path.read_text()
    assert write_card(folder, path).read_text() == before


def test_a_card_of_photographs_says_so(folder, tmp_path):
    write_records(folder, simulated=False)
    text = write_card(folder, tmp_path / "plate.md").read_text()
    assert "All 13 images are photographs." in text
    assert "synthetic" not in text


def test_without_records_the_origin_is_unknown(make_ad_class, tmp_path):
    text = write_card(make_ad_class(), tmp_path / "bottle.md").read_text()
    for message in (
        "Unknown: not every image has a record that says whether it is a photograph.",
        "Unknown: no capture session of these images was found.",
        "| `crack` | structural | any | all of it (1.0) | 2 | 2 | 40, 40, 40 px |",
        "- No validation images.",
    ):
        assert message in text
    assert "mm²" not in text


@pytest.mark.parametrize("name", ["angle", "composite_part", "flat_connector"])
def test_updating_the_shipped_cards_keeps_their_text(name, folder, tmp_path):
    shipped = definitions.locate("data_cards", name).read_text()
    path = tmp_path / "card.md"
    path.write_text(shipped)
    renewed = write_card(folder, path).read_text()
    written = [
        line for line in shipped.splitlines() if line != "Not known before there is a class."
    ]
    missing = [line for line in written if line not in renewed.splitlines()]
    assert missing == []
    assert "Not known before there is a class." not in renewed
    assert renewed.count("<!-- generated: ") == shipped.count("<!-- generated: ")
