"""From a session and its Label Studio export to a dataset class in MVTec LOCO AD format."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.annotations.audit import audit_path, audit_record, check_unedited
from loco_tools.annotations.label_studio import Export, Skipped, read_export
from loco_tools.annotations.marks import Instance, Marks, check_marks, instances_of, marks_of
from loco_tools.annotations.photographs import Photograph, Photographs, find_sessions
from loco_tools.annotations.taxonomy import Taxonomy, defects_config, load_taxonomy
from loco_tools.datasets.images import encode_png
from loco_tools.errors import AnnotationError
from loco_tools.progress import SILENT, Progress

_KIND_FOLDERS = {
    "good": "good",
    "logical": "logical_anomalies",
    "structural": "structural_anomalies",
}
_SAME_SCALE = 0.02


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion made of an export.

    `images` counts by folder ("test/logical_anomalies"), `defects` counts mask files by defect;
    `skipped` is what was drawn and became nothing; `notes` are for a person to look at.
    """

    class_name: str
    folder: Path
    sidecar: Path
    simulated: bool
    images: dict[str, int]
    defects: dict[str, int]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    def describe(self) -> str:
        """A few lines for a person."""
        counts = ", ".join(f"{folder} {count}" for folder, count in self.images.items())
        masks = ", ".join(f"{count} {name}" for name, count in self.defects.items()) or "none"
        lines = [f"{self.class_name}: {counts}; masks: {masks} -> {self.folder}"]
        if self.simulated:
            lines[0] += " (SIMULATED images)"
        lines += [f"skipped: {s.type} in task {s.task}: {s.reason}" for s in self.skipped]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        record = asdict(self)
        return {**record, "folder": str(self.folder), "sidecar": str(self.sidecar)}


def convert(
    export: Path,
    *,
    out_root: Path,
    sessions: Sequence[Path] = (),
    taxonomy: Taxonomy | None = None,
    alpha_threshold: int = 128,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ConversionReport:
    """Make `out_root/<class>/` from a Label Studio export and the session it belongs to.

    Images come from the session, in the order they were taken and byte for byte. Good parts need
    no annotation; a photograph of an anomalous part with an annotation but no region is good in
    that view. An image with both kinds of defects counts as logical. Regions of one image with one
    label and one group number are one defect instance and one mask file. Of several annotations of
    one image the one changed last counts. Thresholds in mm2 or by feature use the scale of the
    plan's first view.

    Beside the folder lie `<class>.jsonl` (one line per image: part, view, shot, session, hash,
    defects, annotators) and `<class>.audit.json` (hashes of every file, and each region's fate).
    All is built aside and swapped in whole; the same input gives the same bytes.

    Args:
        export: full JSON or JSON-MIN.
        out_root: folder of all classes.
        sessions: folders of the photographs, if the export does not lie in its session.
        taxonomy: of the class; default: the one of its name.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        overwrite: replace a class folder even if it was edited or made otherwise.
        progress: where to report to.

    Raises:
        AnnotationError: the export and the session do not fit together, a label is unknown, an
            anomalous photograph was not annotated, an image is damaged, or the class folder there
            was edited since it was converted.
        CaptureError: a session cannot be read.
        DefinitionError: there is no taxonomy of the class's name.
    """
    content = read_export(export)
    photographs = Photographs(find_sessions(content, sessions))
    taxonomy = taxonomy or load_taxonomy(photographs.class_name)
    marks = marks_of(content, photographs)
    check_marks(content, photographs, marks, taxonomy)
    folder = out_root / photographs.class_name
    if folder.exists() and not overwrite:
        check_unedited(folder)
    config = _config(photographs, taxonomy)
    with (
        _beside(folder) as (sidecar, audit),
        files.folder_swapped_in(folder) as fresh,
        progress.task(f"convert {photographs.class_name}", len(photographs.all)) as advance,
    ):
        made = _Class(fresh, config, notes=_session_notes(photographs))
        for photograph in photographs.all:
            marked = marks.get(photograph)
            instances, skipped = instances_of(
                photograph, marked, taxonomy, alpha_threshold=alpha_threshold
            )
            made.skipped += skipped
            made.add(photograph, marked, instances)
            advance(1)
        made.finish(photographs)
        made.skipped += content.skipped
        files.write_text(sidecar, "".join(f"{line}\n" for line in made.lines))
        files.write_json(audit, audit_record(export, made.hashes, made.masked, made.skipped))
    return _report(folder, photographs, made)


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Two files to write while the class is built; they take their places after it took its own."""
    targets = (folder.with_name(f"{folder.name}.jsonl"), audit_path(folder))
    staged = tuple(target.with_name(f".{target.name}.staged") for target in targets)
    try:
        yield staged[0], staged[1]
        for source, target in zip(staged, targets, strict=True):
            source.replace(target)
    finally:
        for source in staged:
            source.unlink(missing_ok=True)


@dataclass
class _Class:
    """The class folder while it is built, and what is known about each file in it."""

    folder: Path
    config: list[dict[str, Any]]
    notes: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    hashes: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    masked: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, photograph: Photograph, marked: Marks | None, found: list[Instance]) -> None:
        """Write one image with its masks."""
        shot = photograph.shot
        kinds = {instance.defect.kind for instance in found}
        kind = "logical" if "logical" in kinds else "structural" if kinds else "good"
        kind_folder = _KIND_FOLDERS[kind]
        parent = f"{shot.split}/{kind_folder}"
        name = f"{self.counts[parent]:03d}"
        self.counts[parent] += 1
        image = f"{parent}/{name}.png"
        self._write(image, _checked_bytes(photograph))
        defects = [
            self._write_mask(f"ground_truth/{kind_folder}/{name}/{number:03d}.png", instance)
            for number, instance in enumerate(found)
        ]
        self._take_notes(photograph, image, found)
        line = {
            "image": image,
            "split": shot.split,
            "kind": kind,
            "part": shot.part,
            "view": shot.view,
            "part_kind": shot.kind,
            "part_defect": shot.defect,
            "shot": shot.shot,
            "session": photograph.record.session,
            "simulated": photograph.record.simulated,
            "sha256": shot.sha256,
            "annotator": marked.annotation.annotator if marked else None,
            "annotations": marked.submitted if marked else 0,
            "defects": defects,
        }
        self.lines.append(json.dumps(line, ensure_ascii=False))

    def finish(self, photographs: Photographs) -> None:
        """Write what the official tree has besides images and masks."""
        config = json.dumps(self.config, indent=2) + "\n"
        self._write("defects_config.json", config.encode())
        self._write("readme.txt", _readme(photographs).encode())

    def _write(self, name: str, content: bytes) -> None:
        files.write_bytes(self.folder / name, content)
        self.hashes[name] = hashlib.sha256(content).hexdigest()

    def _write_mask(self, name: str, instance: Instance) -> dict[str, Any]:
        value = np.uint8(instance.defect.pixel_value)
        self._write(name, encode_png(instance.mask.astype(np.uint8) * value))
        self.defects[instance.defect.name] += 1
        self.masked += [
            {"task": r.task, "region": r.id, "type": r.type, "label": r.labels[0], "file": name}
            for r in instance.regions
        ]
        return {
            "name": instance.defect.name,
            "kind": instance.defect.kind,
            "mask": name,
            "area_px": instance.area_px,
            "regions": [region.id for region in instance.regions],
        }

    def _take_notes(self, photograph: Photograph, image: str, found: list[Instance]) -> None:
        shot, names = photograph.shot, sorted({instance.defect.name for instance in found})
        if found and names != [shot.defect]:
            taken = shot.defect or "good"
            self.notes.append(
                f"{image} ({photograph}): taken as {taken}, marked {', '.join(names)}"
            )
        thresholds = {
            entry["defect_name"]: entry["saturation_threshold"]
            for entry in self.config
            if not entry["relative_saturation"]
        }
        for instance in found:
            threshold = thresholds.get(instance.defect.name, 0)
            if threshold > instance.area_px:
                self.notes.append(
                    f"{image}: {instance.defect.name} saturates at {threshold} px, but only "
                    f"{instance.area_px} px are marked; evaluations then take all that is marked"
                )
        for one, other in combinations(found, 2):
            shared = int(np.count_nonzero(one.mask & other.mask))
            if shared:
                pair = f"{one.defect.name} and {other.defect.name}"
                self.notes.append(f"{image}: {pair} overlap in {shared} px")


def _checked_bytes(photograph: Photograph) -> bytes:
    """The image file, if it is the one that was taken."""
    try:
        content = photograph.path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"{photograph.path}: cannot be read ({error.strerror}); next step: restore it"
        ) from error
    if hashlib.sha256(content).hexdigest() != photograph.shot.sha256:
        raise AnnotationError(
            f"{photograph.path}: damaged or edited, its SHA-256 is not the one in the session's "
            "shots.jsonl; next step: restore it from a copy"
        )
    return content


def _config(photographs: Photographs, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    plan = photographs.records[0][1].plan
    return defects_config(taxonomy, px_per_mm=_scales(photographs)[0], plan=plan)


def _scales(photographs: Photographs) -> list[float | None]:
    """Pixels per mm in the first view of the plan, by session."""
    return [record.px_per_mm.get(record.plan.views[0].name) for _, record in photographs.records]


def _session_notes(photographs: Photographs) -> list[str]:
    notes = []
    for _, record in photographs.records:
        planned = {planned.shot for planned in record.plan.planned_shots()}
        done = {p.shot.shot for p in photographs.all if p.record is record}
        if planned - done:
            notes.append(
                f"session {record.session}: {len(planned - done)} of {len(planned)} planned shots "
                "were not taken"
            )
    known = [scale for scale in _scales(photographs) if scale is not None]
    if known and max(known) > min(known) * (1 + _SAME_SCALE):
        notes.append(
            f"the sessions' scales differ ({min(known):.3g} to {max(known):.3g} px per mm); "
            f"saturation thresholds use {known[0]:.3g}"
        )
    return notes


def _readme(photographs: Photographs) -> str:
    origins = [
        f"- session {record.session}, "
        + (
            f"SIMULATED by a digital twin (seed {record.seed}): not photographs"
            if record.simulated
            else f"photographs by {record.camera.identity}"
        )
        + f", begun {record.created}"
        for _, record in photographs.records
    ]
    part = photographs.records[0][1].plan.part
    return "\n".join(
        [
            f"{photographs.class_name}: {part.title} ({part.bought_as})",
            "",
            "A dataset class in the format of MVTec LOCO AD, converted by loco-tools from the",
            "annotations of:",
            *origins,
            "",
            "train/good, validation/good: good parts. test: good, logical_anomalies,",
            "structural_anomalies. ground_truth/<kind>/<image>/: one mask per defect, 0 for",
            "background, else the pixel value of defects_config.json.",
            "",
            "No licence is stated; whoever publishes this class has to state one in license.txt.",
            "",
        ]
    )


def _report(folder: Path, photographs: Photographs, made: _Class) -> ConversionReport:
    return ConversionReport(
        class_name=photographs.class_name,
        folder=folder,
        sidecar=folder.with_name(f"{folder.name}.jsonl"),
        simulated=any(record.simulated for _, record in photographs.records),
        images=dict(sorted(made.counts.items())),
        defects=dict(sorted(made.defects.items())),
        skipped=tuple(made.skipped),
        notes=tuple(made.notes),
    )
