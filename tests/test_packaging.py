import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "SECURITY.md", "annotations", "benchmark", "capture", "constraints.txt", "data_cards",
    "loco_tools", "pyproject.toml", "tests",
}  # fmt: skip


def configuration() -> dict[str, object]:
    with (REPOSITORY / "pyproject.toml").open("rb") as stream:
        return tomllib.load(stream)


def test_the_package_list_names_every_package() -> None:
    setuptools = configuration()["tool"]["setuptools"]  # type: ignore[index]
    found = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for path in (REPOSITORY / "loco_tools").rglob("__init__.py")
    }
    listed = {name for name in setuptools["packages"] if "_definitions" not in name}
    assert listed == found


def test_every_tracked_entry_at_the_top_belongs_there() -> None:
    git = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    entries = {name for name in git.stdout.split() if not name.startswith(".")}
    assert entries <= TOP_LEVEL


def test_help_and_the_loader_import_no_torch_and_no_renderer() -> None:
    code = (
        "import sys, loco_tools, loco_tools.datasets, loco_tools.evaluation\n"
        "from loco_tools.cli import run\n"
        "run(['--help']); run(['bench', '--help']); run(['capture', '--help'])\n"
        "heavy = {'torch', 'mitsuba', 'trimesh', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_metrics_import_nothing_of_ours_and_no_torch() -> None:
    for source in (REPOSITORY / "loco_tools" / "metrics").glob("*.py"):
        for line in source.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                assert "torch" not in line, source
                assert "loco_tools" not in line or "loco_tools.metrics" in line, source
