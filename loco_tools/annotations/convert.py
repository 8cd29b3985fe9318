"""From a session and its Label Studio export to a dataset class in MVTec LOCO AD format."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.audit import audit_path, audit_record, check_unedited, page_path
from loco_tools.annotations.audit_page import AuditPage
from loco_tools.annotations.class_folder import ClassFolder
from loco_tools.annotations.counted_annotations import check_marks, marks_of, outcome_of
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import Storages
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.annotations.grouping import Group
from loco_tools.annotations.merging import Merge
from loco_tools.annotations.output_guard import check_spares
from loco_tools.annotations.photographs import Photographs, find_sessions
from loco_tools.annotations.taxonomy import Taxonomy, defects_config, load_taxonomy
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.progress import SILENT, Progress

_SAME_SCALE = 0.02
_NOTES_SHOWN = 20


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion made of an export.

    `images` counts by folder ("test/logical_anomalies"), `defects` counts mask files by defect;
    `skipped` is what was drawn and became nothing; `left_out` is what did not count (cancelled,
    drafts, predictions, older or outvoted annotations); `notes` are for a person to look at, as is
    the page `audit`.
    """

    class_name: str
    folder: Path
    sidecar: Path
    simulated: bool
    images: dict[str, int]
    defects: dict[str, int]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    left_out: tuple[Skipped, ...]
    audit: Path

    def describe(self) -> str:
        """A few lines for a person."""
        shown, more = self.notes[:_NOTES_SHOWN], len(self.notes) - _NOTES_SHOWN
        lines = [f"{self.headline()} -> {self.folder}", *self.losses()]
        lines += [f"note: {note}" for note in shown]
        return "\n".join([*lines, f"note: and {more} more"] if more > 0 else lines)

    def headline(self) -> str:
        """What was made, in one line."""
        counts = ", ".join(f"{folder} {count}" for folder, count in self.images.items())
        masks = ", ".join(f"{count} {name}" for name, count in self.defects.items()) or "none"
        simulated = " (SIMULATED images)" if self.simulated else ""
        return f"{self.class_name}: {counts}; masks: {masks}{simulated}"

    def losses(self) -> list[str]:
        """What was drawn and became no mask, a line each."""
        reasons = Counter(skip.reason for skip in self.left_out)
        return [
            *(f"skipped: {s.type} in task {s.task}: {s.reason}" for s in self.skipped),
            *(f"left out: {count} regions: {why}" for why, count in sorted(reasons.items())),
        ]

    def as_record(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        record = asdict(self)
        paths = {key: str(record[key]) for key in ("folder", "sidecar", "audit")}
        return {**record, **paths}


def convert(
    export: Path,
    *,
    out_root: Path,
    sessions: Sequence[Path] = (),
    taxonomy: Taxonomy | None = None,
    alpha_threshold: int = 128,
    merge: Merge = "latest",
    group: Group = "auto",
    predictions: bool = False,
    storages: Storages | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ConversionReport:
    """Make `out_root/<class>/` from a Label Studio export and the session it belongs to.

    Images come from the session, in the order they were taken and byte for byte, and each keeps the
    split of its part; a part in two splits is an error. Good parts need no annotation; a photograph
    of an anomalous part with an annotation but no region is good in that view. An image with both
    kinds of defects counts as logical. Each defect instance is one mask file; defects may overlap,
    which is reported. Thresholds in mm2 or by feature use the scale of the plan's first view.

    Beside the folder lie `<class>.jsonl` (one line per image: part, view, shot, session, hash,
    defects, annotators), `<class>.audit.json` (hashes of every file, and each region's fate) and
    `<class>.audit.html` (the same to look at). All is built aside and swapped in whole; the same
    input gives the same bytes.

    Args:
        export: full JSON or JSON-MIN.
        out_root: folder of all classes.
        sessions: folders of the photographs, if the export does not lie in its session.
        taxonomy: of the class; default: the one of its name.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        merge: which annotations of an image count, see `merging.Merge`.
        group: what makes regions one defect instance, see `grouping.Group`.
        predictions: let predictions count as the annotations of an annotator.
        storages: folders by the beginning of the image references that they stand for; only needed
            for URLs and absolute paths in tasks without our ids. Nothing is fetched.
        overwrite: replace a class folder even if it was edited or made otherwise.
        progress: where to report to.

    Raises:
        AnnotationError: the export and the session do not fit together, a label is unknown, an
            anomalous photograph was not annotated, an image is damaged, or the class folder there
            was edited since it was converted.
        CaptureError: a session cannot be read.
        DefinitionError: there is no taxonomy of the class's name.
    """
    content = read_export(export, predictions=predictions)
    photographs = Photographs(find_sessions(content, sessions), storages)
    taxonomy = taxonomy or load_taxonomy(photographs.class_name)
    marks = marks_of(content, photographs, merge)
    check_marks(content, photographs, marks, taxonomy)
    folder = out_root / photographs.class_name
    check_spares(folder, [export, *(session for session, _ in photographs.records)])
    if folder.exists() and not overwrite:
        check_unedited(folder)
    config = _config(photographs, taxonomy)
    with (
        _beside(folder) as (sidecar, audit, page),
        files.folder_swapped_in(folder) as fresh,
        progress.task(f"convert {photographs.class_name}", len(photographs.all)) as advance,
    ):
        made = ClassFolder(fresh, config, _session_notes(photographs), AuditPage(taxonomy))
        for photograph in photographs.all:
            marked = marks.get(photograph)
            outcome = outcome_of(
                photograph,
                marked,
                taxonomy,
                merge=merge,
                group=group,
                alpha_threshold=alpha_threshold,
            )
            made.add(photograph, marked, outcome)
            advance(1)
        made.finish(photographs.records)
        made.skipped += content.skipped
        made.left_out += content.left_out()
        report = _report(folder, photographs, made)
        record = audit_record(
            export,
            made.hashes,
            masked=made.masked,
            skipped=made.skipped,
            left_out=made.left_out,
            notes=report.notes,
        )
        files.write_text(sidecar, "".join(f"{line}\n" for line in made.lines))
        summary = [report.headline(), *(f"note: {note}" for note in report.notes)]
        html = made.page.html("\n".join(summary), made.skipped, made.left_out)
        files.write_text(page, html)
        files.write_json(audit, record)
    return report


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[tuple[Path, ...]]:
    """Three files to write while the class is built; they take their places after it."""
    targets = (sidecar_path(folder), audit_path(folder), page_path(folder))
    staged = tuple(target.with_name(f".{target.name}.staged") for target in targets)
    try:
        yield staged
        for source, target in zip(staged, targets, strict=True):
            source.replace(target)
    finally:
        for source in staged:
            source.unlink(missing_ok=True)


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


def _report(folder: Path, photographs: Photographs, made: ClassFolder) -> ConversionReport:
    return ConversionReport(
        class_name=photographs.class_name,
        folder=folder,
        sidecar=sidecar_path(folder),
        simulated=any(record.simulated for _, record in photographs.records),
        images=dict(sorted(made.counts.items())),
        defects=dict(sorted(made.defects.items())),
        skipped=tuple(made.skipped),
        notes=tuple(made.notes),
        left_out=tuple(made.left_out),
        audit=page_path(folder),
    )
