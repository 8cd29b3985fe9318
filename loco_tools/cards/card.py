"""The data card of a class, generated from the class, its sidecar and its capture sessions.

`loco-tools card data/angle` rewrites the sections between markers (see `marked_sections`) and keeps
the text that people wrote around them. The front matter follows Hugging Face's dataset cards.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.capture.session import RECORD, Session, read_session
from loco_tools.cards import tables
from loco_tools.cards.marked_sections import with_front_matter, with_sections
from loco_tools.datasets import load
from loco_tools.datasets.data_hash import data_hash
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import json_text, markdown, markdown_code

_TAGS = ("anomaly-detection", "mvtec-loco-ad", "industrial-inspection")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
_FEW = 10


@dataclass(frozen=True)
class ClassRecords:
    """A class with its sidecar records by image path and its capture sessions."""

    dataset: DatasetClass
    records: dict[str, dict[str, Any]]
    sessions: tuple[Session, ...]

    @property
    def simulated(self) -> int | None:
        """Number of simulated images; None unless the sidecar has this for every image."""
        images = [s.image_path.relative_to(self.dataset.path).as_posix() for s in self.dataset]
        recorded = [record for image in images if "simulated" in (record := self.record(image))]
        if len(recorded) < len(images):
            return None
        return sum(bool(record["simulated"]) for record in recorded)

    def record(self, image: str) -> dict[str, Any]:
        """The sidecar record of an image; empty if there is none."""
        return self.records.get(image, {})


def write_card(
    class_dir: Path | str,
    card_path: Path,
    *,
    captures: Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write or update the data card of a class.

    Args:
        class_dir: the class, in any layout.
        card_path: the card; text outside the generated sections of an existing card is kept.
        captures: the folder of all classes' sessions; by default `captures/` next to the folder of
            the classes, as in a workspace.
        progress: advances by one per file that is hashed.

    Returns:
        `card_path`.

    Raises:
        DatasetError: the class cannot be read.
        DefinitionError: a session is damaged, or a generated section of the card is not closed.
    """
    dataset = load(class_dir)
    existing = card_path.read_text(encoding="utf-8") if card_path.is_file() else None
    text = card_text(dataset, existing, captures=captures, origin=str(card_path), progress=progress)
    files.write_text(card_path, text)
    return card_path


def card_text(
    dataset: DatasetClass,
    existing: str | None = None,
    *,
    captures: Path | None = None,
    origin: str = "the card",
    progress: Progress = SILENT,
) -> str:
    """The text of a data card.

    Args:
        dataset: the class.
        existing: the text of the card to update.
        captures: see `write_card`.
        origin: the file of the card, for error messages.
        progress: see `write_card`.
    """
    records = read_records(sidecar_path(dataset.path))
    folder = (captures or dataset.path.parent.parent / "captures") / dataset.name
    names = sorted({r["session"] for r in records.values() if isinstance(r.get("session"), str)})
    paths = [folder / name for name in names if (folder / name / RECORD).is_file()]
    known = ClassRecords(dataset, records, tuple(read_session(path) for path in paths))

    text = existing
    if text is None and known.sessions:
        part = known.sessions[0].plan.part
        bought_as = markdown(part.bought_as)
        text = f"# {markdown(part.title)}\n\n{bought_as[:1].upper()}{bought_as[1:]}.\n"
    elif text is None:
        text = f"# {markdown(dataset.name)}\n\nWhat the images show: (write it here)\n"

    licence, licence_sentence = tables.licence(dataset.path)
    written_once = (
        f"pretty_name: {json_text(dataset.name)}\n"
        f"license: {licence}\n"
        "task_categories:\n  - image-segmentation\n  - image-classification\n"
    )
    tags = [*_TAGS, *(["synthetic"] if known.simulated else [])]
    size = next((name for bound, name in _SIZES if len(dataset) < bound), "100K<n<1M")
    front_matter = {
        "tags": "tags:\n" + "".join(f"  - {tag}\n" for tag in tags),
        "size_categories": f"size_categories:\n  - {size}\n",
    }
    sections = {
        "origin": _describe_origin(known),
        "splits": tables.splits(dataset),
        "measured_defects": tables.defects(dataset, known.sessions),
        "capture": tables.capture(known.sessions),
        "licence": licence_sentence,
        "content": (
            f"Layout: {dataset.layout}. SHA-256 of all names, sizes and contents: "
            f"`{data_hash(dataset.path, progress=progress)}`. "
            f"Written by loco-tools {version('loco-tools')}."
        ),
        "known_limits": "\n".join(f"- {limit}" for limit in _list_limits(known)),
    }
    return with_sections(
        with_front_matter(text, written_once, front_matter), sections, origin=origin
    )


def _describe_origin(known: ClassRecords) -> str:
    count, simulated = len(known.dataset), known.simulated
    if simulated is None:
        return "Unknown: not every image has a record that says whether it is a photograph."
    if simulated == 0:
        return f"All {count} images are photographs."
    images = f"all {count} images were" if simulated == count else f"{simulated} of {count} were"
    return f"**Simulated: {images} rendered by a digital twin; they are not photographs.**"


def _list_limits(known: ClassRecords) -> list[str]:
    dataset, limits = known.dataset, []
    if known.simulated:
        limits.append(
            "Simulated images are cleaner than photographs: they are useful to compare methods, "
            "but do not predict the results with a camera in a plant."
        )
    limits += [
        f"No {split} images." for split in ("train", "validation") if not dataset.split(split)
    ]
    if not any(sample.kind == "good" for sample in dataset.test):
        limits.append("No good test images: metrics that need them cannot be computed.")
    images = tables.images_by_defect(dataset)
    if rare := [f"{markdown_code(name)} {count}" for name, count in images.items() if count < _FEW]:
        limits.append(f"Defects with fewer than {_FEW} test images: {', '.join(rare)}.")
    if len(known.sessions) == 1:
        limits.append("One session: one camera, one lighting, one day.")
    annotators = {a for r in known.records.values() for a in r.get("annotators", ())}
    if len(annotators) == 1:
        limits.append("One person marked all defects; agreement between annotators is unknown.")
    return limits or ["No limits were found automatically; people who know the class may add some."]
