"""What is wrong with the classes of a run, found before anything is fitted."""

from collections.abc import Mapping
from pathlib import Path

from loco_tools.datasets import check
from loco_tools.datasets.validation.findings import Findings
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural, printable


def examine_classes(
    classes: Mapping[str, Path], progress: Progress = SILENT
) -> dict[str, Findings]:
    """The findings about each class, by the rules of `loco-tools validate`.

    Masks are decoded, and images too: an image of the training set may be in the test set as
    another file.
    """
    return {name: check(path, progress, compare_pixels=True) for name, path in classes.items()}


def describe_faults(findings: Mapping[str, Findings]) -> str:
    """What stops each class that has such faults, one line per class and code; "" if none has."""
    faulty = {name: found for name, found in findings.items() if found.stopping}
    if not faulty:
        return ""
    number = f"{len(faulty)} of {plural(len(findings), 'class', 'classes')}"
    lines = [f"{number} cannot be benchmarked as {'it is' if len(faulty) == 1 else 'they are'}:"]
    for name, found in faulty.items():
        lines += [f"  {printable(name)}: {line}" for line in found.brief(found.stopping)]
    paths = " ".join(printable(str(found.path)) for found in faulty.values())
    accept = ", or accept it with --despite-findings, which the report shows"
    only_metrics = all(
        one.effect == "metrics" for found in faulty.values() for one in found.stopping
    )
    lines.append(
        f"next step: correct this (all faults: loco-tools validate {paths}), or choose other "
        f"classes with --class{accept if only_metrics else ''}"
    )
    return "\n".join(lines)


def refuse_faulty(findings: Mapping[str, Findings]) -> None:
    """Raise a BenchmarkError that names the faults of every class, if there are any."""
    if text := describe_faults(findings):
        raise BenchmarkError(f"{text}\nnothing was fitted")
