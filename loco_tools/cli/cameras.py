"""The command `cameras`."""

import click

from loco_tools.cli.printing import AS_JSON, print_json
from loco_tools.progress import Progress


@click.command()
@click.option(
    "--camera",
    "asked",
    multiple=True,
    metavar="CAMERA",
    help="Also test this camera, e.g. rtsp://HOST/PATH or folder:DIR; can be repeated.",
)
@AS_JSON
@click.pass_obj
def cameras(progress: Progress, asked: tuple[str, ...], as_json: bool) -> int:
    """List the connected cameras and take a test frame from each.

    Each line begins with the name that `loco-tools capture --camera` takes. The exit code is 1 if a
    camera that was given with --camera yields no frame.

    Example: loco-tools cameras --camera rtsp://192.0.2.7/live
    """
    from loco_tools.capture.probing import failed, probe_cameras

    reports = probe_cameras(asked, progress)
    if as_json:
        print_json([report.model_dump(exclude_none=True) for report in reports])
    else:
        for report in reports:
            click.echo(report.describe())
    return 1 if failed(reports) else 0
