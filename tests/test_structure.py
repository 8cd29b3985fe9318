"""The house stays in order: imports point one way, folders and functions keep their measure."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "loco_tools"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}

FOUNDATION = {
    "definitions",
    "errors",
    "extras",
    "files",
    "lock",
    "plan",
    "plugin_import",
    "progress",
    "schema",
    "templates",
    "wording",
}
ALLOWED = {
    "metrics": set[str](),
    "twin": {"datasets"},
    "datasets": set[str](),
    "synthesis": {"datasets"},
    "evaluation": {"datasets", "metrics"},
    "methods": {"datasets", "metrics", "synthesis"},
    "ensembles": {"datasets", "methods", "metrics", "synthesis"},
    "capture": {"datasets", "twin"},
    "annotations": {"capture", "datasets"},
    "cards": {"capture", "datasets"},
    "benchmark": {
        "cards", "datasets", "ensembles", "evaluation", "methods", "metrics", "synthesis",
    },
    "testing": {"capture", "datasets", "ensembles", "methods"},
}  # fmt: skip
"""Room -> the rooms that it may import, apart from the foundation; metrics may not even that."""
ABOVE = {"cli", "demo", "__main__", "__init__"}
"""What may import every room."""


def imports_of(module: str, *, only_at_import: bool = False) -> Iterator[str]:
    """Yield the modules of ours that a module imports, those for type checkers left out."""
    pending: list[ast.AST] = [TREES[module]]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loco_tools"):
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in submodules:
                yield name if name in FILES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        pending += ast.iter_child_nodes(node)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module: str) -> None:
    room = room_of(module)
    if room in ABOVE:
        return
    foundation = set() if room == "metrics" else FOUNDATION
    allowed = foundation | ALLOWED.get(room, set()) | {room}
    imported = {room_of(name) for name in imports_of(module)} - {"__init__"}
    assert imported <= allowed, f"{module} imports {sorted(imported - allowed)}"


def test_no_files_and_no_rooms_import_each_other_in_a_circle() -> None:
    files = {module: set(imports_of(module, only_at_import=True)) - {module} for module in FILES}
    rooms: dict[str, set[str]] = {}
    for module in FILES:
        imported = {room_of(name) for name in imports_of(module)} - {room_of(module), "__init__"}
        rooms.setdefault(room_of(module), set()).update(imported)
    for graph in (files, rooms):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_folders_stay_small_enough_to_look_through() -> None:
    sizes = Counter(path.parent for path in FILES.values())
    assert {folder.name: size for folder, size in sizes.items() if size > 25} == {}


def test_few_private_functions_are_used_only_once() -> None:
    functions = used_once = 0
    for tree in TREES.values():
        nodes = list(ast.walk(tree))
        uses = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in nodes
            if isinstance(node, ast.Name | ast.Attribute)
        )
        names = [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        private = {name for name in names if name.startswith("_") and not name.startswith("__")}
        functions += len(names)
        used_once += sum(uses[name] == 1 for name in private)
    assert used_once / functions <= 0.18


def test_no_tiny_file_serves_a_single_other_file() -> None:
    callers: dict[str, set[str]] = {module: set() for module in FILES}
    for module in FILES:
        for name in imports_of(module):
            callers[name].add(module)
    tiny = {
        module
        for module, path in FILES.items()
        if path.name not in {"__init__.py", "__main__.py"}
        and len(path.read_text().splitlines()) < 40
        and len(callers[module]) == 1
    }
    assert tiny == set()
