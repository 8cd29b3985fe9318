"""A dataset class in MVTec LOCO AD format while it is built: images, masks, configuration."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.annotations.audit_page import AuditPage
from loco_tools.annotations.counted_annotations import Marks, Outcome
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.annotations.merging import Instance, overlaps
from loco_tools.annotations.photographs import Photograph, image_bytes
from loco_tools.capture.session import Session
from loco_tools.datasets.images import encode_png

_KIND_FOLDERS = {
    "good": "good",
    "logical": "logical_anomalies",
    "structural": "structural_anomalies",
}


@dataclass
class ClassFolder:
    """The class folder while it is built, and what is known about each file in it."""

    folder: Path
    config: list[dict[str, Any]]
    notes: list[str]
    page: AuditPage
    counts: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    hashes: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    masked: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)

    def add(self, photograph: Photograph, marked: Marks | None, outcome: Outcome) -> None:
        """Write one image with its masks."""
        shot, found = photograph.shot, outcome.instances
        self.skipped += outcome.skipped
        self.left_out += [Skipped(r.task, r.id, r.type, why) for r, why in outcome.left_out]
        kinds = {instance.defect.kind for instance in found}
        kind = "logical" if "logical" in kinds else "structural" if kinds else "good"
        kind_folder = _KIND_FOLDERS[kind]
        parent = f"{shot.split}/{kind_folder}"
        name = f"{self.counts[parent]:03d}"
        self.counts[parent] += 1
        image = f"{parent}/{name}.png"
        self._write(image, image_bytes(photograph.path, shot.sha256))
        defects = [
            self._write_mask(f"ground_truth/{kind_folder}/{name}/{number:03d}.png", instance)
            for number, instance in enumerate(found)
        ]
        self._take_notes(photograph, image, found)
        self._note_verdicts(image, marked, found)
        if marked:
            masks = [str(defect["mask"]) for defect in defects]
            self.page.add(photograph, image, outcome, masks)
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
            "annotators": list(marked.annotators) if marked else [],
            "defects": defects,
        }
        self.lines.append(json.dumps(line, ensure_ascii=False))

    def finish(self, records: Sequence[tuple[Path, Session]]) -> None:
        """Write what the official tree has besides images and masks."""
        config = json.dumps(self.config, indent=2) + "\n"
        self._write("defects_config.json", config.encode())
        self._write("readme.txt", _readme([record for _, record in records]).encode())

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

    def _take_notes(self, photograph: Photograph, image: str, found: Sequence[Instance]) -> None:
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
        for one, other, shared in overlaps([instance.mask for instance in found]):
            pair = f"{found[one].defect.name} and {found[other].defect.name}"
            self.notes.append(f"{image}: {pair} overlap in {shared} px")

    def _note_verdicts(self, image: str, marked: Marks | None, found: Sequence[Instance]) -> None:
        """What annotators called the image where that does not fit what they drew."""
        for submission in marked.counted if marked else ():
            verdict = submission.verdict
            fits = {"good": not found, "anomalous": bool(found), "unsure": False}
            if verdict is not None and not fits[verdict]:
                drawn = f"{len(found)} defects are marked" if found else "no defect is marked"
                self.notes.append(f'{image}: called "{verdict}", and {drawn}')


def _readme(records: Sequence[Session]) -> str:
    origins = [
        f"- session {record.session}, "
        + (
            f"SIMULATED by a digital twin (seed {record.seed}): not photographs"
            if record.simulated
            else f"photographs by {record.camera.identity}"
        )
        + f", begun {record.created}"
        for record in records
    ]
    part = records[0].plan.part
    return "\n".join(
        [
            f"{records[0].name}: {part.title} ({part.bought_as})",
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
