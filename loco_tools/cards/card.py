"""The data card of a class, written from what is there.

`loco-tools card data/angle` writes the sections between markers anew (see `generated`) and leaves
what a person wrote around them; the front matter is that of Hugging Face dataset cards.
"""

import json
from collections.abc import Sequence
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

_TAGS = ("anomaly-detection", "mvtec-loco-ad", "industrial-inspection")
_FEW = 10


@dataclass(frozen=True)
class Known:
    """What is known of a class: the class, its sidecar by image, and the sessions found."""

    dataset: DatasetClass
    records: dict[str, dict[str, Any]]
    sessions: tuple[Session, ...]

    @property
    def simulated(self) -> int | None:
        """How many images are simulated; None when nobody recorded it for all of them."""
        images = [s.image_path.relative_to(self.dataset.path).as_posix() for s in self.dataset]
        told = [
            self.records[i]["simulated"] for i in images if "simulated" in self.records.get(i, {})
        ]
        return sum(told) if len(told) == len(images) else None


def write_card(
    class_dir: Path | str,
    card_path: Path,
    *,
    captures: Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write or renew the data card of a class.

    Args:
        class_dir: the class, in any layout.
        card_path: a card that exists keeps all that stands outside its generated sections.
        captures: folder of all classes' sessions; by default `captures/` beside the folder of the
            classes, as in a workspace.
        progress: told of every file that is hashed.

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
    """The text of a data card; see `write_card`."""
    records = read_records(sidecar_path(dataset.path))
    captures = captures or dataset.path.parent.parent / "captures"
    known = Known(dataset, records, _sessions(captures / dataset.name, records))
    text = _opening(known) if existing is None else existing
    front = with_front_matter(text, _written_once(known), _front_matter(known))
    return with_sections(front, _sections(known, progress), origin=origin)


def _sessions(folder: Path, records: dict[str, dict[str, Any]]) -> tuple[Session, ...]:
    names = sorted({r["session"] for r in records.values() if isinstance(r.get("session"), str)})
    return tuple(
        read_session(folder / name) for name in names if (folder / name / RECORD).is_file()
    )


def _opening(known: Known) -> str:
    name = known.dataset.name
    if not known.sessions:
        return f"# {name}\n\nWhat is in the pictures: (write it here)\n"
    part = known.sessions[0].plan.part
    return f"# {part.title}\n\n{part.bought_as[:1].upper()}{part.bought_as[1:]}.\n"


def _written_once(known: Known) -> str:
    return (
        f"pretty_name: {json.dumps(known.dataset.name)}\n"
        f"license: {tables.licence(known.dataset.path)[0]}\n"
        "task_categories:\n  - image-segmentation\n  - image-classification\n"
    )


def _front_matter(known: Known) -> dict[str, str]:
    tags = [*_TAGS, *(["synthetic"] if known.simulated else [])]
    count = len(known.dataset)
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    size = next((name for bound, name in bounds if count < bound), "100K<n<1M")
    return {
        "tags": "tags:\n" + "".join(f"  - {tag}\n" for tag in tags),
        "size_categories": f"size_categories:\n  - {size}\n",
    }


def _sections(known: Known, progress: Progress) -> dict[str, str]:
    dataset = known.dataset
    return {
        "origin": _origin(known),
        "splits": tables.splits(dataset),
        "measured_defects": tables.defects(dataset, _scales(known.sessions)),
        "capture": tables.capture(known.sessions),
        "licence": tables.licence(dataset.path)[1],
        "content": (
            f"Layout: {dataset.layout}. SHA-256 of all names, sizes and contents: "
            f"`{data_hash(dataset.path, progress=progress)}`. "
            f"Written by loco-tools {version('loco-tools')}."
        ),
        "known_limits": "\n".join(f"- {limit}" for limit in _limits(known)),
    }


def _origin(known: Known) -> str:
    count, simulated = len(known.dataset), known.simulated
    if simulated is None:
        return "Unknown: no record says of every image whether it is a photograph."
    if simulated == 0:
        return f"All {count} images are photographs."
    what = f"all {count}" if simulated == count else f"{simulated} of {count}"
    return f"**Simulated: {what} images were rendered by a digital twin; they are no photographs.**"


def _scales(sessions: Sequence[Session]) -> dict[str, float]:
    """Pixels per mm by view, where all sessions agree to the last digit or there is only one."""
    scales: dict[str, set[float]] = {}
    for session in sessions:
        for view, scale in session.px_per_mm.items():
            scales.setdefault(view, set()).add(scale)
    return {view: next(iter(found)) for view, found in scales.items() if len(found) == 1}


def _limits(known: Known) -> list[str]:
    dataset, limits = known.dataset, []
    if known.simulated:
        limits.append(
            "Simulated images are cleaner than photographs: they rank methods, and do not predict "
            "what a camera in a plant will see."
        )
    limits += [
        f"No {split} images." for split in ("train", "validation") if not dataset.split(split)
    ]
    if not any(sample.kind == "good" for sample in dataset.test):
        limits.append("No good test images: no figure that compares with them can be had.")
    images = tables.images_by_defect(dataset)
    if rare := [f"`{name}` {count}" for name, count in images.items() if count < _FEW]:
        limits.append(f"Defects with fewer than {_FEW} test images: {', '.join(rare)}.")
    if len(known.sessions) == 1:
        limits.append("One session: one camera, one lighting, one day.")
    annotators = {a for r in known.records.values() for a in r.get("annotators", ())}
    if len(annotators) == 1:
        limits.append("One person marked all defects; agreement between persons is unknown.")
    return limits or ["None were found by counting; whoever knows the class may know more."]
