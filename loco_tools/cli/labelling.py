"""Marking the defects, and what becomes of the marks: label, convert."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loco_tools.cli.printing import AS_JSON, EXISTING, PATH, print_json, print_outcome, print_paths
from loco_tools.progress import Progress

if TYPE_CHECKING:
    from loco_tools.annotations.grouping import Group
    from loco_tools.annotations.merging import Merge

Command = TypeVar("Command", bound=Callable[..., Any])

TAXONOMY = click.option(
    "--taxonomy", metavar="NAME", help="By name or path; default: the class's own."
)


def on_server(command: Command) -> Command:
    """The options of every command that talks to a Label Studio server."""
    for option in (
        click.option("--token-file", type=EXISTING, help="Default: $LABEL_STUDIO_API_KEY"),
        click.option("--project", required=True, help="Title of the project."),
        click.option("--url", required=True, help="Address of the server."),
    ):
        command = option(command)
    return command


@click.group()
def label() -> None:
    """Have the photographs marked in Label Studio."""


@label.command("config")
@click.argument("class_name", metavar="CLASS")
@TAXONOMY
@AS_JSON
def label_config(class_name: str, taxonomy: str | None, as_json: bool) -> None:
    """Print the labelling configuration that follows from a class's taxonomy and plan.

    Example: loco-tools label config angle
    """
    from loco_tools.annotations.server.labelling_config import labelling_config
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.plan import load_plan

    config = labelling_config(load_taxonomy(taxonomy or class_name), load_plan(class_name))
    if as_json:
        print_json({"labelling_config": config})
    else:
        click.echo(config)


@label.command("push")
@click.argument("session", type=EXISTING)
@on_server
@TAXONOMY
@click.option("--with-good", is_flag=True, help="Also show good parts, which need no marks.")
@click.option("--local-files", type=EXISTING, help="Show images from this folder of the server.")
@click.option("--predictions", type=EXISTING, help="A run made with --maps: propose its finds.")
@click.option(
    "--data", type=PATH, default=Path("data"), show_default=True, help="Classes of the run."
)
@click.option("--method", help="Of the run, when it compared several.")
@click.option("--seed", type=int, help="Of the run, when it had several.")
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.995,
    show_default=True,
    help="Share of the pixels of good images below the proposals' threshold.",
)
@AS_JSON
@click.pass_obj
def label_push(
    progress: Progress,
    /,
    *,
    session: Path,
    url: str,
    project: str,
    token_file: Path | None,
    taxonomy: str | None,
    with_good: bool,
    local_files: Path | None,
    predictions: Path | None,
    data: Path,
    method: str | None,
    seed: int | None,
    quantile: float,
    as_json: bool,
) -> None:
    """Show the photographs of a session in a project; run again, it adds what is new.

    The token comes from the environment variable LABEL_STUDIO_API_KEY or a file.

    Example: loco-tools label push captures/angle/session-001 --url URL --project angle
    """
    from loco_tools.annotations.server.client import read_token
    from loco_tools.annotations.server.pre_annotations import proposals_of
    from loco_tools.annotations.server.push import push
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.capture.session import read_session

    proposals = None
    if predictions is not None:
        record = read_session(session)
        proposals = proposals_of(
            predictions, record, data=data, method=method, seed=seed, quantile=quantile
        )
    pushed = push(
        session,
        url=url,
        project=project,
        token=read_token(token_file),
        taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
        with_good=with_good,
        local_files=local_files,
        predictions=proposals,
        progress=progress,
    )
    print_outcome(pushed, as_json=as_json)


@label.command("pull")
@on_server
@click.option(
    "--out", type=PATH, default=Path("labelstudio.json"), show_default=True, help="The export."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=1800.0,
    show_default=True,
    help="Seconds that the server may take for the snapshot.",
)
@AS_JSON
@click.pass_obj
def label_pull(
    progress: Progress,
    /,
    *,
    url: str,
    project: str,
    token_file: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Fetch what was marked in a project, for loco-tools convert.

    Example: loco-tools label pull --url URL --project angle
    """
    from loco_tools.annotations.server.client import read_token
    from loco_tools.annotations.server.pull import pull

    token = read_token(token_file)
    written = pull(
        url=url, project=project, token=token, out=out, timeout_s=timeout, progress=progress
    )
    print_paths({"export": written}, as_json=as_json)


@label.command("simulate")
@click.argument("session", type=EXISTING)
@TAXONOMY
@click.option("--seed", type=int, default=0, show_default=True, help="Of the annotator's hand.")
@AS_JSON
def label_simulate(session: Path, taxonomy: str | None, seed: int, as_json: bool) -> None:
    """Let a simulated annotator mark a simulated session, as a Label Studio export.

    Example: loco-tools label simulate captures/angle/session-001
    """
    from loco_tools.annotations.simulated import annotate_session
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.capture.session import read_session

    name = taxonomy or read_session(session).name
    export = annotate_session(session, load_taxonomy(name), seed=seed)
    print_paths({"export": export}, as_json=as_json)


@click.command()
@click.argument("export", type=EXISTING)
@click.option("--out", type=PATH, help="Default: data, or masks with --masks-only.")
@click.option(
    "--session", "sessions", type=EXISTING, multiple=True, help="Where its photographs are."
)
@TAXONOMY
@click.option(
    "--merge",
    type=click.Choice(["latest", "reviewed", "union", "majority"]),
    default="latest",
    show_default=True,
    help="Which annotations of an image count.",
)
@click.option(
    "--group",
    type=click.Choice(["auto", "number", "relation", "label", "region"]),
    default="auto",
    show_default=True,
    help="What makes regions one defect.",
)
@click.option("--predictions", is_flag=True, help="Let predictions count as annotations.")
@click.option(
    "--storage",
    "storages",
    metavar="PREFIX=DIR",
    multiple=True,
    help="The folder that image references with this beginning stand for.",
)
@click.option("--agreement", is_flag=True, help="Only compare the annotators with each other.")
@click.option("--masks-only", is_flag=True, help="One black-and-white mask per region, no dataset.")
@click.option("--images", type=EXISTING, help="With --masks-only: folder of the images.")
@click.option(
    "--alpha-threshold",
    type=click.IntRange(1, 255),
    default=128,
    show_default=True,
    help="Brush pixels of at least this opacity count.",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@AS_JSON
@click.pass_obj
def convert(
    progress: Progress,
    /,
    *,
    export: Path,
    out: Path | None,
    sessions: tuple[Path, ...],
    taxonomy: str | None,
    merge: "Merge",
    group: "Group",
    predictions: bool,
    storages: tuple[str, ...],
    agreement: bool,
    masks_only: bool,
    images: Path | None,
    alpha_threshold: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn a Label Studio export into a dataset class in MVTec LOCO AD format.

    Example: loco-tools convert captures/angle/session-001/labelstudio.json
    """
    from loco_tools.annotations.agreement import agreement as compare
    from loco_tools.annotations.convert import convert as to_class
    from loco_tools.annotations.formats.image_references import parse_storages
    from loco_tools.annotations.masks_only import export_masks
    from loco_tools.annotations.taxonomy import load_taxonomy

    folders = parse_storages(storages)
    if masks_only:
        masks = export_masks(
            export,
            out or Path("masks"),
            images=images,
            alpha_threshold=alpha_threshold,
            predictions=predictions,
            storages=folders,
            overwrite=overwrite,
            progress=progress,
        )
        print_outcome(masks, as_json=as_json)
        return
    defects = load_taxonomy(taxonomy) if taxonomy else None
    if agreement:
        compared = compare(
            export,
            sessions=sessions,
            taxonomy=defects,
            alpha_threshold=alpha_threshold,
            storages=folders,
            progress=progress,
        )
        print_outcome(compared, as_json=as_json)
        return
    converted = to_class(
        export,
        out_root=out or Path("data"),
        sessions=sessions,
        taxonomy=defects,
        alpha_threshold=alpha_threshold,
        merge=merge,
        group=group,
        predictions=predictions,
        storages=folders,
        overwrite=overwrite,
        progress=progress,
    )
    print_outcome(converted, as_json=as_json)
    if not as_json:
        click.echo(f"Every region's fate: {converted.audit}")
