"""Looking at cameras: cameras."""

import click

from loco_tools.cli.printing import AS_JSON, print_json
from loco_tools.progress import Progress


@click.command()
@click.option(
    "--camera",
    "asked",
    multiple=True,
    metavar="CAMERA",
    help="Look at this one too, e.g. rtsp://HOST/PATH, folder:DIR; repeatable.",
)
@AS_JSON
@click.pass_obj
def cameras(progress: Progress, asked: tuple[str, ...], as_json: bool) -> int:
    """List the cameras that are connected, grab a frame from each, and say what works.

    The name in front of each line is what `loco-tools capture --camera` takes. Ends with 1 when a
    camera that was asked for by --camera gives no picture.

    Example: loco-tools cameras --camera rtsp://192.0.2.7/live
    """
    from loco_tools.capture.cameras.probing import failed, look_at_cameras

    reports = look_at_cameras(asked, progress)
    if as_json:
        print_json([report.model_dump(exclude_none=True) for report in reports])
    else:
        for report in reports:
            click.echo(report.describe())
    return 1 if failed(reports) else 0
