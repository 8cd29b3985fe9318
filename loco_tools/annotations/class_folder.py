"""Write a dataset class in MVTec LOCO AD format: images, masks and configuration."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.annotations.audit_page import AuditPage
from loco_tools.annotations.counted_annotations import CountedAnnotations, ImageInstances
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.annotations.merging import Instance, overlaps
from loco_tools.annotations.session_images import SessionImage, image_bytes
from loco_tools.capture.session import Session
from loco_tools.datasets.images import encode_png
from loco_tools.wording import json_text, plural

_KIND_FOLDERS = {
    "good": "good",
    "logical": "logical_anomalies",
    "structural": "structural_anomalies",
}


_README = """\
{name}: {part.title} ({part.bought_as})

A dataset class in the format of MVTec LOCO AD, converted by loco-tools from the
annotations of:
{origins}

train/good, validation/good: good parts. test: good, logical_anomalies,
structural_anomalies. ground_truth/<kind>/<image>/: one mask per defect, 0 for
background, else the pixel value of defects_config.json.

No licence is stated; whoever publishes this class has to state one in license.txt.
"""


@dataclass
class ClassFolder:
    """A class folder while it is built, and what the audit and the sidecar record about it.

    Attributes:
        folder: the folder to write to.
        config: the entries of `defects_config.json`.
        notes: remarks for a person.
        page: the audit page.
        counts: number of images by folder ("test/good").
        defects: number of mask files by defect.
        hashes: SHA-256 of every file, by path in the folder.
        lines: the lines of the sidecar, one per image.
        masked: the regions that became a mask.
        skipped: the regions that could not become one.
        left_out: the regions that did not count.
    """

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
    _marked: Counter[tuple[str, str]] = field(default_factory=Counter)
    _anomalous: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(
        self,
        image: SessionImage,
        annotations: CountedAnnotations | None,
        outcome: ImageInstances,
    ) -> None:
        """Write one image with its masks, and record both."""
        shot, instances = image.shot, outcome.instances
        self.skipped += outcome.skipped
        self.left_out += [Skipped(r.task, r.id, r.type, why) for r, why in outcome.left_out]
        self.left_out += outcome.unread
        self._marked[image.record.session, shot.part] += len(instances)
        if shot.kind != "good":
            self._anomalous[image.record.session, shot.part] = str(shot.defect)
        kinds = {instance.defect.kind for instance in instances}
        kind = "logical" if "logical" in kinds else "structural" if kinds else "good"
        folder = f"{shot.split}/{_KIND_FOLDERS[kind]}"
        number = f"{self.counts[folder]:03d}"
        self.counts[folder] += 1
        name = f"{folder}/{number}.png"
        self._write(name, image_bytes(image.path, shot.sha256))
        masks = f"ground_truth/{_KIND_FOLDERS[kind]}/{number}"
        defects = [
            self._write_mask(f"{masks}/{index:03d}.png", instance)
            for index, instance in enumerate(instances)
        ]
        self._add_notes(image, name, annotations, instances)
        if annotations:
            self.page.add(image, name, outcome, [str(defect["mask"]) for defect in defects])
        line = {
            "image": name,
            "split": shot.split,
            "kind": kind,
            "part": shot.part,
            "view": shot.view,
            "part_kind": shot.kind,
            "part_defect": shot.defect,
            "shot": shot.shot,
            "session": image.record.session,
            "simulated": image.record.simulated,
            "sha256": shot.sha256,
            "annotators": list(annotations.annotators) if annotations else [],
            "defects": defects,
        }
        self.lines.append(json_text(line))

    def finish(self, records: Sequence[Session]) -> None:
        """Write the other files of the official layout; `records` are those of the sessions.

        Anomalous parts that are marked in none of their views come first among the notes.
        """
        self.notes[:0] = [
            f"{session}/{part}: taken as {defect}, marked in none of its views; its images count "
            "as good"
            for (session, part), defect in self._anomalous.items()
            if not self._marked[session, part]
        ]
        config = json.dumps(self.config, indent=2) + "\n"
        self._write("defects_config.json", config.encode())
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
        first = records[0]
        readme = _README.format(name=first.name, part=first.plan.part, origins="\n".join(origins))
        self._write("readme.txt", readme.encode())

    def _write(self, name: str, content: bytes) -> None:
        files.write_bytes(self.folder / name, content)
        self.hashes[name] = hashlib.sha256(content).hexdigest()

    def _write_mask(self, name: str, instance: Instance) -> dict[str, Any]:
        """Write the mask of one instance; the result is its entry in the sidecar."""
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

    def _add_notes(
        self,
        image: SessionImage,
        name: str,
        annotations: CountedAnnotations | None,
        instances: Sequence[Instance],
    ) -> None:
        """Note what contradicts the plan, the taxonomy or the annotators' verdicts."""
        defects = sorted({instance.defect.name for instance in instances})
        if instances and defects != [image.shot.defect]:
            planned = image.shot.defect or "good"
            self.notes.append(f"{name} ({image}): taken as {planned}, marked {', '.join(defects)}")
        thresholds: Mapping[str, int] = {
            entry["defect_name"]: entry["saturation_threshold"]
            for entry in self.config
            if not entry["relative_saturation"]
        }
        for instance in instances:
            threshold = thresholds.get(instance.defect.name, 0)
            if threshold > instance.area_px:
                self.notes.append(
                    f"{name}: {instance.defect.name} saturates at {threshold} px, but only "
                    f"{instance.area_px} px are marked; evaluations then use the marked area"
                )
        for first, second, shared in overlaps([instance.mask for instance in instances]):
            pair = f"{instances[first].defect.name} and {instances[second].defect.name}"
            self.notes.append(f"{name}: {pair} overlap in {shared} px")
        fits = {"good": not instances, "anomalous": bool(instances), "unsure": False}
        for annotation in annotations.counted if annotations else ():
            verdict = annotation.verdict
            if verdict is not None and not fits[verdict]:
                drawn = plural(len(instances), "marked defect") if instances else "no marked defect"
                self.notes.append(f'{name}: called "{verdict}", with {drawn}')
