import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

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


IMPORT_NAMES = {
    "cv2-enumerate-cameras": "cv2_enumerate_cameras",
    "label-studio-sdk": "label_studio_sdk",
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""Distribution -> module, where the names differ."""

NOT_IMPORTED = {
    "alembic": "mlflow creates and migrates its SQLite store with it",
    "sqlalchemy": "mlflow opens its SQLite store with it",
    "tensorboard": "torch.utils.tensorboard writes event files with it",
}
"""Declared distributions that loco_tools does not import itself, with the reason."""

BROUGHT_BY = {
    "h11": "uvicorn",
    "lightning": "anomalib",
    "markupsafe": "jinja2",
    "timm": "anomalib",
    "pyarrow": "datasets",
    "starlette": "fastapi",
}
"""Imported modules -> the declared distribution whose interface they are a part of."""


def declared_modules() -> set[str]:
    """The modules of the core dependencies and of every extra but `dev`, whose tools are run."""
    project: dict[str, Any] = configuration()["project"]  # type: ignore[assignment]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"]]
    for extra, needed in extras.items():
        requirements += [] if extra == "dev" else needed
    names = {re.split(r"[\[<>=,;]", requirement)[0].lower() for requirement in requirements}
    return {IMPORT_NAMES.get(name, name) for name in names - {"loco-tools"}}


def imported_modules() -> set[str]:
    """The third-party modules that loco_tools imports anywhere, also inside functions."""
    modules: set[str] = set()
    for source in (REPOSITORY / "loco_tools").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    roots = {module.partition(".")[0] for module in modules}
    return roots - set(sys.stdlib_module_names) - {"loco_tools"}


def test_every_declared_dependency_is_imported_or_has_a_stated_reason() -> None:
    unused = declared_modules() - imported_modules()
    assert unused == set(NOT_IMPORTED)


def test_every_third_party_import_is_a_declared_dependency() -> None:
    undeclared = imported_modules() - declared_modules()
    assert undeclared == set(BROUGHT_BY)
    assert set(BROUGHT_BY.values()) <= declared_modules()


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert {name for name, count in names.items() if count > 1} == set(), "pytest mixes them up"
