"""Build sdist and wheel, install the wheel in an empty environment elsewhere, and use it there.

Run by `make package`. The wheel gets the core install only, so this also shows that the commands of
a capture station need no torch.
"""

import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ICONS = ("loco_tools/capture/station/static/icon.svg",)
DEFINITIONS = (
    *("capture/angle.toml", "annotations/angle.toml", "data_cards/angle.md"),
    "benchmark/published.toml",
)
EXPECTED = (
    *(f"loco_tools/_definitions/{name}" for name in DEFINITIONS),
    *(  # every data file that the code reads: templates, styles, scripts, tables
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "loco_tools").rglob("*.*")
        if path.is_file() and path.suffix in {".html", ".css", ".js", ".toml", ".svg"}
    ),
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="loco-tools-wheel-") as folder:
        outside = Path(folder)
        wheel = build(outside / "dist")
        check_content(wheel)
        use(wheel, outside)
    print("packaging: sdist, wheel, clean install and shipped definitions are sound")


def build(target: Path) -> Path:
    """Build the sdist, and from it the wheel."""
    run(sys.executable, "-m", "build", "--outdir", target, REPOSITORY, cwd=target.parent)
    (wheel,) = target.glob("*.whl")
    return wheel


def check_content(wheel: Path) -> None:
    """Every package and definition is in the wheel; no image and no test is."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in EXPECTED if name not in names]
    images = [n for n in names if n.endswith((".png", ".jpg", ".jpeg", ".svg")) and n not in ICONS]
    strays = [n for n in names if n.split("/")[0] == "tests"]
    if missing or images or strays:
        sys.exit(f"{wheel.name}: missing {missing}, images {images}, strays {strays}")


def use(wheel: Path, outside: Path) -> None:
    """Install the wheel in an empty environment and run it in an empty folder."""
    environment, work = outside / "venv", outside / "work"
    work.mkdir()
    run(sys.executable, "-m", "venv", environment, cwd=outside)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    constraints = REPOSITORY / "constraints.txt"
    run(scripts / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel, cwd=work)
    run(scripts / "loco-tools", "--help", cwd=work)
    printed = run(scripts / "loco-tools", "capture", "--class", "angle", "--dry-run", cwd=work)
    if "Angle bracket" not in printed:
        sys.exit(f"capture --dry-run did not read the shipped plan:\n{printed}")
    with (REPOSITORY / "pyproject.toml").open("rb") as stream:
        version = tomllib.load(stream)["project"]["version"]
    if version not in run(scripts / "loco-tools", "--version", cwd=work):
        sys.exit("loco-tools --version does not match pyproject.toml")


def run(*command: object, cwd: Path) -> str:
    """Run a command and return what it printed; end with its output when it fails."""
    cwd.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
