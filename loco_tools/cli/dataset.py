"""The commands for dataset classes: validate, show, export, card, evaluate."""

from pathlib import Path
from typing import Literal

import click

from loco_tools.cli.printing import (
    AS_JSON,
    EXISTING,
    PATH,
    echo,
    print_figures,
    print_json,
    print_outcome,
    print_paths,
)
from loco_tools.errors import DatasetError
from loco_tools.progress import Progress

STANDARD_OUTPUT = Path("-")


@click.command()
@click.argument("path", type=EXISTING)
@AS_JSON
@click.pass_obj
def validate(progress: Progress, /, *, path: Path, as_json: bool) -> None:
    """Report every fault of a dataset class, with its file and what was expected there.

    The exit code is 1 if there is an error, and 0 if there are only warnings.

    Example: loco-tools validate data/angle
    """
    from loco_tools.datasets.validation import validate as find_faults

    findings = find_faults(path, progress)
    print_outcome(findings, as_json=as_json)
    if findings.errors:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("path", type=EXISTING)
@click.option(
    "--out", type=PATH, default=Path("sheets"), show_default=True, help="Folder for the files."
)
@click.option(
    "--examples",
    type=click.IntRange(1, 12),
    default=3,
    show_default=True,
    help="Images per defect.",
)
@AS_JSON
def show(path: Path, out: Path, examples: int, as_json: bool) -> None:
    """Print a summary of a dataset class, and draw its contact sheet as PNG and HTML.

    PATH may also be a folder of classes. A class with faults does not keep the others from being
    shown; its faults come last.

    Example: loco-tools show data/angle
    """
    from loco_tools.datasets import find_classes, load
    from loco_tools.datasets.show import write_contact_sheet

    records, faults = [], []
    class_dirs = find_classes(path)
    for class_dir in class_dirs:
        png, html = out / f"{class_dir.name}.png", out / f"{class_dir.name}.html"
        try:
            dataset = load(class_dir)
            summary = write_contact_sheet(dataset, png, html, examples=examples)
        except DatasetError as error:
            faults.append(f"{error}; all faults at once: loco-tools validate {class_dir}")
            continue
        records.append({**summary.as_record(), "png": str(png), "html": str(html)})
        if not as_json:
            echo(f"{summary.describe()}\nContact sheet: {png}, {html}")
    if as_json and records:
        print_json(records if len(class_dirs) > 1 else records[0])
    if faults:
        raise DatasetError("\n".join(faults))


@click.command()
@click.argument("path", type=EXISTING)
@click.option("--to", type=click.Choice(["hf", "ad", "loco"]), required=True, help="Target format.")
@click.option("--out", type=PATH, required=True, help="The folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace the folder if it exists.")
@AS_JSON
@click.pass_obj
def export(
    progress: Progress,
    /,
    *,
    path: Path,
    to: Literal["hf", "ad", "loco"],
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Convert a class to Hugging Face datasets (hf), MVTec AD (ad) or MVTec LOCO AD (loco).

    The output lists the information that the target format cannot represent.

    Example: loco-tools export data/angle --to hf --out exported/angle
    """
    from loco_tools.cards.card import card_text
    from loco_tools.datasets import load
    from loco_tools.datasets.export import export as convert_class

    dataset = load(path)
    card = card_text(dataset, progress=progress) if to == "hf" else None
    done = convert_class(dataset, to, out, card=card, overwrite=overwrite, progress=progress)
    print_outcome(done, as_json=as_json)


@click.command()
@click.argument("path", type=EXISTING)
@click.option("--out", type=PATH, help="Default: data_cards/<class>.md")
@click.option("--captures", type=EXISTING, help="Folder of the sessions of the class.")
@AS_JSON
@click.pass_obj
def card(
    progress: Progress,
    /,
    *,
    path: Path,
    out: Path | None,
    captures: Path | None,
    as_json: bool,
) -> None:
    """Write or update the data card of a class. Text that people wrote in it is kept.

    Example: loco-tools card data/angle
    """
    from loco_tools.cards.card import write_card

    target = out or Path("data_cards") / f"{path.resolve().name}.md"
    written = write_card(path, target, captures=captures, progress=progress)
    print_paths({"card": written}, as_json=as_json)


@click.command()
@click.argument("maps", type=EXISTING)
@click.option("--data", type=EXISTING, required=True, help="The class that the maps belong to.")
@click.option(
    "--json",
    "json_file",
    metavar="[FILE]",
    type=PATH,
    is_flag=False,
    flag_value=STANDARD_OUTPUT,
    help="Print the metrics as JSON; with a file, write them there as well as printing tables.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes to use."
)
@click.option(
    "--bootstrap",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Bootstrap samples for the 95 % confidence intervals; 0 for none.",
)
@click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="False-positive rate on good validation images that sets the decision threshold.",
)
@click.pass_obj
def evaluate(
    progress: Progress,
    /,
    *,
    maps: Path,
    data: Path,
    json_file: Path | None,
    jobs: int,
    bootstrap: int,
    fpr: float,
) -> None:
    """Evaluate anomaly maps of one class, which may come from any program.

    MAPS is the folder of the class with a map test/<kind>/<id>.tiff for every test image. With maps
    of the good validation images in validation/good/<id>.tiff, metrics at a decision threshold are
    computed too.

    Example: loco-tools evaluate maps/angle --data data/angle --json metrics.json
    """
    from loco_tools import files
    from loco_tools.datasets import load
    from loco_tools.evaluation import evaluate_folder

    evaluation = evaluate_folder(
        maps, load(data), progress, jobs=jobs, bootstrap=bootstrap, fpr=fpr
    )
    if json_file == STANDARD_OUTPUT:
        print_json(evaluation.metrics)
        return
    if json_file is not None:
        files.write_json(json_file, evaluation.metrics)
    print_figures(evaluation.metrics)
