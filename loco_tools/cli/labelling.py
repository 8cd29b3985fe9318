"""The commands `label` (annotate defects in Label Studio) and `convert` (make a dataset class)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loco_tools.cli.printing import (
    AS_JSON,
    EXISTING,
    PATH,
    echo,
    print_json,
    print_outcome,
    print_paths,
)
from loco_tools.progress import Progress

if TYPE_CHECKING:
    from loco_tools.annotations.grouping import Group
    from loco_tools.annotations.merging import Merge

Command = TypeVar("Command", bound=Callable[..., Any])

TAXONOMY = click.option(
    "--taxonomy",
    metavar="NAME",
    help="Taxonomy, by name or path; by default the one with the name of the class.",
)


def on_server(command: Command) -> Command:
    """The options of every command that talks to a Label Studio server."""
    for option in (
        click.option(
            "--token-file",
            type=EXISTING,
            help="File with the token; by default it is read from $LABEL_STUDIO_API_KEY.",
        ),
        click.option("--project", required=True, help="Title of the Label Studio project."),
        click.option("--url", required=True, help="Address of the Label Studio server."),
    ):
        command = option(command)
    return command


@click.group()
def label() -> None:
    """Annotate the defects of a session in Label Studio."""


@label.command("config")
@click.argument("class_name", metavar="CLASS")
@TAXONOMY
@AS_JSON
def label_config(class_name: str, taxonomy: str | None, as_json: bool) -> None:
    """Print the labelling configuration of CLASS.

    It is made from the taxonomy and the plan of the class, and is what a Label Studio project takes
    under Settings > Labeling Interface. Pushing sets it automatically.

    Example: loco-tools label config angle
    """
    from loco_tools.annotations.server.labelling_config import labelling_config
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.plan import load_plan

    config = labelling_config(load_taxonomy(taxonomy or class_name), load_plan(class_name))
    if as_json:
        print_json({"labelling_config": config})
    else:
        echo(config)


@label.command("push")
@click.argument("session", type=EXISTING)
@on_server
@TAXONOMY
@click.option("--with-good", is_flag=True, help="Also show good parts, which need no annotation.")
@click.option(
    "--local-files",
    type=EXISTING,
    help="Show images from this folder, which the server serves, instead of uploading them.",
)
@click.option(
    "--predictions",
    type=EXISTING,
    help="Pre-annotate from this benchmark run (needs bench --maps).",
)
@click.option(
    "--data",
    type=PATH,
    default=Path("data"),
    show_default=True,
    help="Folder of the classes of that run.",
)
@click.option("--method", help="Method of that run, if it compared several.")
@click.option("--seed", type=int, help="Seed of that run, if it had several.")
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.995,
    show_default=True,
    help="Quantile of the scores on good images that sets the pre-annotations' threshold.",
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
    """Upload the photographs of SESSION to a Label Studio project.

    Pushing again adds the photographs that are new and changes no annotation. The token comes from
    the environment variable LABEL_STUDIO_API_KEY or from --token-file.

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
    "--out", type=PATH, default=Path("labelstudio.json"), show_default=True, help="File to write."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=1800.0,
    show_default=True,
    help="Time limit in seconds for the server to prepare the export.",
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
    """Download the annotations of a Label Studio project.

    The file that it writes is the input of loco-tools convert.

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
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random choices.")
@AS_JSON
def label_simulate(session: Path, taxonomy: str | None, seed: int, as_json: bool) -> None:
    """Annotate a simulated SESSION automatically.

    The command writes labelstudio.json into the folder of the session, in the form of a Label
    Studio export. The annotations come from the masks of the digital twin.

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
@click.option(
    "--out", type=PATH, help="Output folder; by default data, or masks with --masks-only."
)
@click.option(
    "--session",
    "sessions",
    type=EXISTING,
    multiple=True,
    help="Session with the photographs, if the export does not lie in it; may be repeated.",
)
@TAXONOMY
@click.option(
    "--merge",
    type=click.Choice(["latest", "reviewed", "union", "majority"]),
    default="latest",
    show_default=True,
    help="Which annotations count when an image has several.",
)
@click.option(
    "--group",
    type=click.Choice(["auto", "number", "relation", "label", "region"]),
    default="auto",
    show_default=True,
    help="Which regions with the same label are one defect.",
)
@click.option("--predictions", is_flag=True, help="Count the predictions of models as annotations.")
@click.option(
    "--storage",
    "storages",
    metavar="PREFIX=DIR",
    multiple=True,
    help="Map an image-URL prefix to a local folder; may be repeated.",
)
@click.option(
    "--agreement", is_flag=True, help="Only report how well the annotators agree; write no dataset."
)
@click.option(
    "--masks-only",
    is_flag=True,
    help="Write one black-and-white mask per region; write no dataset.",
)
@click.option("--images", type=EXISTING, help="Folder of the images, for --masks-only.")
@click.option(
    "--alpha-threshold",
    type=click.IntRange(1, 255),
    default=128,
    show_default=True,
    help="Opacity from which on a brush pixel belongs to the mask.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an existing output, even if it was edited or written by something else.",
)
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
    """Convert the annotations in EXPORT to a dataset class in MVTec LOCO AD format.

    EXPORT is a file that Label Studio exported as JSON or JSON-MIN. Next to the class, the command
    writes a page that shows the outcome of every region (CLASS.audit.html).

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
        masks.check_not_empty(export)
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
        echo(f"Outcome of every region: {converted.audit}")
