"""Calibration: calibrate board, calibrate camera."""

import sys
from pathlib import Path

import click

from loco_tools.cli.printing import AS_JSON, PATH, print_json, print_outcome
from loco_tools.progress import Progress

BOARD = click.option(
    "--board",
    "board_id",
    default="11x17-15-11-4X4_100",
    show_default=True,
    metavar="ID",
    help="As printed on the sheet: squares, their mm, markers' mm, dictionary.",
)


@click.group()
def calibrate() -> None:
    """Measure a camera's lens and its scale at the part, with a printed board.

    Print the board, then show it to the camera. The scale turns areas in mm2 into pixels.
    """


@calibrate.command("board")
@click.option(
    "--out", type=PATH, default=Path("board.pdf"), show_default=True, help="A .pdf or a .png."
)
@click.option(
    "--paper",
    type=click.Choice(["A4", "A3", "letter"]),
    default="A4",
    show_default=True,
    help="The sheet to print on.",
)
@BOARD
@AS_JSON
def calibrate_board(out: Path, paper: str, board_id: str, as_json: bool) -> None:
    """Draw the board at true scale, to be printed at 100 % and laid or glued on something flat.

    Measure the sheet's line of 100 mm: if it is longer or shorter, tell `calibrate camera`.

    Example: loco-tools calibrate board --out board.pdf
    """
    from loco_tools.capture.calibration.board import board_of
    from loco_tools.capture.calibration.board_sheet import write_sheet

    board = board_of(board_id)
    write_sheet(out, board, paper)
    if as_json:
        print_json({"sheet": str(out), "board": board_id, "paper": paper})
    else:
        click.echo(f"{out}: {board.describe()}; print it at 100 % and measure its line of 100 mm")


@calibrate.command("camera")
@click.option("--class", "class_name", required=True, metavar="NAME", help="Plan, by name or path.")
@click.option(
    "--camera",
    default="twin",
    show_default=True,
    envvar="LOCO_TOOLS_CAMERA",
    show_envvar=True,
    help="As for loco-tools capture.",
)
@click.option("--images", type=PATH, help="Use these photographs of the board; take none.")
@BOARD
@click.option(
    "--line-mm",
    type=click.FloatRange(50, 200),
    default=100.0,
    show_default=True,
    help="Measured length of the sheet's line of 100 mm.",
)
@click.option(
    "--plane-offset-mm",
    type=float,
    default=0.0,
    show_default=True,
    help="Height of the part's plane above the sheet; negative below.",
)
@click.option(
    "--frames",
    type=click.IntRange(5, 200),
    default=12,
    show_default=True,
    help="How many photographs of the tilted board to take.",
)
@click.option(
    "--max-error-px",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="The largest reprojection error to accept.",
)
@click.option("--keep", type=PATH, help="Keep the photographs in this folder, for --images.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated light.")
@click.option("--demo", "small", is_flag=True, help="For the plan's small version.")
@click.option("--out", type=PATH, help="Default: captures/<class>/calibration.json")
@AS_JSON
@click.pass_obj
def calibrate_camera(
    progress: Progress,
    /,
    *,
    class_name: str,
    camera: str,
    images: Path | None,
    board_id: str,
    line_mm: float,
    plane_offset_mm: float,
    frames: int,
    max_error_px: float,
    keep: Path | None,
    seed: int,
    small: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Photograph the board, flat in every view of a plan and tilted, and write the calibration.

    In a terminal, any key takes a photograph; those that are of no use are asked for again. A
    `folder:DIR` or --images DIR is used as it is: <view>.png shows the board flat where the part
    lies, its middle where the part's middle lies; all other images show it tilted. Without
    --camera the digital twin shows a simulated board.

    The scale holds in the plane of the sheet that lay flat. If the part's plane is another one,
    because the board is thick or the part is, say so with --plane-offset-mm.

    Example: loco-tools calibrate camera --class angle --camera opencv:0
    """
    from loco_tools.capture.calibration.board import board_of
    from loco_tools.capture.calibration.calibrate import calibrate as measure
    from loco_tools.capture.calibration.record import Sheet, write_calibration
    from loco_tools.plan import load_plan

    plan = load_plan(class_name)
    plan = plan.for_demo() if small else plan
    calibration = measure(
        plan,
        camera=camera,
        sheet=Sheet(
            board=board_of(board_id), printed_scale=line_mm / 100, plane_offset_mm=plane_offset_mm
        ),
        images=images,
        tilted=frames,
        max_error_px=max_error_px,
        keep=keep,
        ask=wait_for_a_key if sys.stdin.isatty() else None,
        seed=seed,
        progress=progress,
    )
    target = out or Path("captures") / plan.name / "calibration.json"
    write_calibration(target, calibration)
    print_outcome(calibration, as_json=as_json)
    if not as_json:
        use = f"loco-tools capture --class {class_name} --camera {calibration.camera}"
        click.echo(f"{target}; next step: {use} --calibration {target}")


def wait_for_a_key(words: str) -> bool:
    """Say what to do and wait: any key takes the photograph, Q gives up."""
    click.echo(f"{words} [any key: take it, Q: give up]", err=True)
    return click.getchar().lower() != "q"
