"""The commands `calibrate board` and `calibrate camera`."""

import sys
from pathlib import Path

import click

from loco_tools.cli.printing import AS_JSON, PATH, echo, print_json, print_outcome
from loco_tools.progress import Progress

BOARD = click.option(
    "--board",
    "board_id",
    default="11x17-15-11-4X4_100",
    show_default=True,
    metavar="ID",
    help="Id of the board, as printed on the sheet.",
)


@click.group()
def calibrate() -> None:
    """Measure a camera's lens and its scale at the part, with a printed board.

    Print the board with `calibrate board`, then show it to the camera with `calibrate camera`. The
    scale is used to turn areas in mm2 into pixels.

    Example: loco-tools calibrate board --out board.pdf
    """


@calibrate.command("board")
@click.option(
    "--out",
    type=PATH,
    default=Path("board.pdf"),
    show_default=True,
    help="File to write: .pdf or .png.",
)
@click.option(
    "--paper",
    type=click.Choice(["A4", "A3", "letter"]),
    default="A4",
    show_default=True,
    help="Paper size.",
)
@BOARD
@AS_JSON
def calibrate_board(out: Path, paper: str, board_id: str, as_json: bool) -> None:
    """Draw the calibration board at true scale.

    Print it at 100 % and fix it on something flat. Then measure the line of 100 mm on the sheet: if
    it has another length, give that length to `calibrate camera --line-mm`.

    Example: loco-tools calibrate board --out board.pdf
    """
    from loco_tools.capture.calibration.board import parse_board_id
    from loco_tools.capture.calibration.board_sheet import write_sheet

    board = parse_board_id(board_id)
    write_sheet(out, board, paper)
    if as_json:
        print_json({"sheet": str(out), "board": board_id, "paper": paper})
    else:
        echo(f"{out}: {board.describe()}; print it at 100 % and measure its line of 100 mm")


@calibrate.command("camera")
@click.option(
    "--class", "class_name", required=True, metavar="NAME", help="Name or path of a plan."
)
@click.option(
    "--camera",
    default="twin",
    show_default=True,
    envvar="LOCO_TOOLS_CAMERA",
    show_envvar=True,
    help="Camera to calibrate; see `loco-tools cameras`.",
)
@click.option(
    "--images", type=PATH, help="Use the photographs in this folder instead of taking new ones."
)
@BOARD
@click.option(
    "--line-mm",
    type=click.FloatRange(50, 200),
    default=100.0,
    show_default=True,
    help="Measured length of the line of 100 mm on the sheet.",
)
@click.option(
    "--plane-offset-mm",
    type=float,
    default=0.0,
    show_default=True,
    help="Height of the part's plane above the sheet; negative if it is below.",
)
@click.option(
    "--frames",
    type=click.IntRange(5, 200),
    default=12,
    show_default=True,
    help="Number of photographs of the tilted board.",
)
@click.option(
    "--max-error-px",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Largest reprojection error that is accepted.",
)
@click.option(
    "--keep", type=PATH, help="Keep the photographs in this folder, to be used with --images."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the simulated light."
)
@click.option("--demo", "small", is_flag=True, help="Calibrate for the small version of the plan.")
@click.option(
    "--out", type=PATH, help="File to write.  [default: captures/<class>/calibration.json]"
)
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
    """Measure lens and scale from photographs of the calibration board.

    One photograph of each view shows the board lying flat where the part lies; further ones show it
    tilted. In a terminal, any key takes a photograph; one that cannot be used is taken again. With
    --images DIR or --camera folder:DIR, existing images are used: <view>.png shows the board flat,
    its middle where the part's middle lies; all other images show it tilted. Without --camera the
    digital twin renders a simulated board.

    The scale is that of the plane of the flat sheet. If the part's plane is higher or lower,
    because the board or the part is thick, give the distance with --plane-offset-mm.

    Example: loco-tools calibrate camera --class angle --camera opencv:0
    """
    from loco_tools.capture.calibration.board import parse_board_id
    from loco_tools.capture.calibration.calibrate import calibrate as measure
    from loco_tools.capture.calibration.record import Sheet, write_calibration
    from loco_tools.plan import load_plan

    plan = load_plan(class_name)
    plan = plan.for_demo() if small else plan
    calibration = measure(
        plan,
        camera=camera,
        sheet=Sheet(
            board=parse_board_id(board_id),
            printed_scale=line_mm / 100,
            plane_offset_mm=plane_offset_mm,
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
        echo(f"{target}; next step: {use} --calibration {target}")


def wait_for_a_key(words: str) -> bool:
    """Print an instruction and wait: any key takes the photograph, Q cancels."""
    echo(f"{words} [any key: take it, Q: cancel]", err=True)
    return click.getchar().lower() != "q"
