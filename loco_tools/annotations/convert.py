"""Convert annotations and the session they belong to into a class in MVTec LOCO AD format."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.audit import audit_record, check_unedited, page_path
from loco_tools.annotations.audit_page import AuditPage
from loco_tools.annotations.class_folder import ClassFolder
from loco_tools.annotations.counted_annotations import (
    check_annotations,
    count_annotations,
    make_instances,
)
from loco_tools.annotations.formats import read_export
from loco_tools.annotations.formats.image_references import Storages
from loco_tools.annotations.formats.regions import Skipped, percent_notes
from loco_tools.annotations.grouping import Group
from loco_tools.annotations.merging import Merge
from loco_tools.annotations.output_guard import check_holds_no_input
from loco_tools.annotations.session_images import SessionImages, find_sessions
from loco_tools.annotations.taxonomy import Taxonomy, defects_config, load_taxonomy
from loco_tools.datasets.sidecar import audit_path, sidecar_path
from loco_tools.errors import AnnotationError
from loco_tools.lock import held_beside
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural

_NOTES_SHOWN = 20


@dataclass(frozen=True)
class ConversionReport:
    """The result of a conversion.

    Attributes:
        class_name: name of the class.
        folder: the class folder that was written.
        sidecar: the file with one line per image.
        simulated: whether images were rendered by the digital twin.
        images: number of images by folder ("test/logical_anomalies").
        defects: number of mask files by defect.
        skipped: regions that could not become a mask.
        left_out: regions that did not count (cancelled, drafts, predictions, older or outvoted
            annotations).
        notes: remarks for a person.
        audit: the page that shows the outcome of every region.
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
        """The images and masks that were written, in one line."""
        counts = ", ".join(f"{folder} {count}" for folder, count in self.images.items())
        masks = ", ".join(f"{count} {name}" for name, count in self.defects.items()) or "none"
        simulated = " (SIMULATED images)" if self.simulated else ""
        return f"{self.class_name}: {counts}; masks: {masks}{simulated}"

    def losses(self) -> list[str]:
        """One line per skipped region, and one line per reason for leaving regions out."""
        reasons = Counter(skip.reason for skip in self.left_out)
        return [
            *(f"skipped: {s.type} in task {s.task}: {s.reason}" for s in self.skipped),
            *(f"left out: {plural(n, 'region')}: {why}" for why, n in sorted(reasons.items())),
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
    """Convert an annotation export and its session into the class folder `out_root/<class>/`.

    The class has the layout of MVTec LOCO AD. Images come from the session, in the order they were
    taken and byte for byte, and keep the split of their part. Good parts need no annotation. A
    photograph of an anomalous part whose annotation has no region is good in that view. An image
    with structural and logical defects counts as logical. Every defect instance is one mask file;
    masks may overlap, which is noted. Saturation thresholds in mm2 or by feature use the scale of
    the first view of the plan.

    Three files are written next to the folder: `<class>.jsonl` (one line per image: part, view,
    shot, session, hash, defects, annotators), `<class>.audit.json` (hashes of all files, and the
    outcome of every region) and `<class>.audit.html` (the same as a page, with images). The folder
    and the three files appear together when all are complete: see `files.swapped_in`. The same
    input gives the same bytes.

    Args:
        export: the export, in any format of `annotations.formats.FORMATS`.
        out_root: the folder of all classes, for example `data`.
        sessions: folders of the photographs, if the export does not lie in its session.
        taxonomy: the taxonomy of the class; by default the one with the name of the class.
        alpha_threshold: brush pixels of at least this opacity (1-255) belong to the mask.
        merge: which annotations of an image count: "latest", "reviewed", "union" or "majority",
            see `annotations.merging.Merge`.
        group: how regions form defect instances: "auto", "number", "relation", "label" or
            "region", see `annotations.grouping.Group`.
        predictions: count predictions as the annotations of an annotator.
        storages: local folders by the prefix of the image references that they stand for, as in
            `{"s3://parts/": Path("/mnt/parts")}`. They are needed only for URLs and absolute paths
            in tasks without our ids. Nothing is downloaded.
        overwrite: replace a class folder even if it was edited or was not made by a conversion.
        progress: where progress is reported; by default nowhere.

    Returns:
        The numbers of images and masks, the regions that became no mask, and notes for a person.

    Raises:
        AnnotationError: the export and the session do not fit together, a label is unknown, a
            photograph of an anomalous part was not annotated, an image is damaged, or the existing
            class folder was edited after its conversion.
        CaptureError: a session cannot be read.
        DefinitionError: there is no taxonomy with the name of the class.

    Example:
        >>> from pathlib import Path
        >>> from loco_tools.annotations.convert import convert
        >>> export = Path("captures/angle/session-001/labelstudio.json")
        >>> report = convert(export, out_root=Path("data"))  # doctest: +SKIP
        >>> report.images  # doctest: +SKIP
        {'test/good': 24, 'test/logical_anomalies': 9, ...}
    """
    content = read_export(export, predictions=predictions)
    images = SessionImages(find_sessions(content, sessions), storages)
    taxonomy = taxonomy or load_taxonomy(images.class_name)
    counted = count_annotations(content, images, merge)
    check_annotations(content, images, counted, taxonomy)
    folder = out_root / images.class_name
    check_holds_no_input(folder, [export, *(session for session, _ in images.records)])
    plan = images.records[0][1].plan
    config = defects_config(taxonomy, px_per_mm=images.scales[0], plan=plan)
    beside = (sidecar_path(folder), audit_path(folder), page_path(folder))
    with (
        _checked_class(folder, overwrite=overwrite),
        files.swapped_in(folder, *beside) as (fresh, sidecar, audit, page),
        progress.task(f"convert {images.class_name}", len(images.all)) as advance,
    ):
        fresh.mkdir()
        built = ClassFolder(fresh, config, images.notes(), AuditPage(taxonomy))
        for image in images.all:
            annotations = counted.get(image)
            instances = make_instances(
                image,
                annotations,
                taxonomy,
                merge=merge,
                group=group,
                alpha_threshold=alpha_threshold,
            )
            built.add(image, annotations, instances)
            advance(1)
        built.finish([record for _, record in images.records])
        built.skipped += content.skipped
        built.left_out += content.left_out()
        built.notes += percent_notes(content.regions())
        report = _report(folder, images, built)
        files.write_text(sidecar, "".join(f"{line}\n" for line in built.lines))
        drawn = content.region_count()
        sums = f"{plural(drawn, 'region')} in the export: {len(built.masked)} became masks, "
        sums += f"{len(built.skipped)} skipped, {len(built.left_out)} left out"
        summary = [report.headline(), sums, *(f"note: {note}" for note in report.notes)]
        html = built.page.html("\n".join(summary), built.skipped, built.left_out)
        files.write_text(page, html)
        record = audit_record(
            export,
            built.hashes,
            drawn=drawn,
            masked=built.masked,
            skipped=built.skipped,
            left_out=built.left_out,
            notes=report.notes,
        )
        files.write_json(audit, record)
    return report


@contextlib.contextmanager
def _checked_class(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Hold the lock of a class folder that may be written."""
    with held_beside(folder, AnnotationError, "name another folder with --out"):
        files.settle(folder)
        if folder.exists() and not overwrite:
            check_unedited(folder)
        yield


def _report(folder: Path, images: SessionImages, built: ClassFolder) -> ConversionReport:
    return ConversionReport(
        class_name=images.class_name,
        folder=folder,
        sidecar=sidecar_path(folder),
        simulated=any(record.simulated for _, record in images.records),
        images=dict(sorted(built.counts.items())),
        defects=dict(sorted(built.defects.items())),
        skipped=tuple(built.skipped),
        notes=tuple(built.notes),
        left_out=tuple(built.left_out),
        audit=page_path(folder),
    )
