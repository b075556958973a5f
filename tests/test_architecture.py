"""The rule of the house: imports point to lower layers or the own folder, never to the host."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "reconx"
LAYERS = {
    "errors": 0,
    "checks": 1,
    "compilation": 1,
    "parts": 2,
    "progress": 1,
    "types": 2,
    "ops": 3,
    "photos": 4,
    "geometry": 4,
    "structure": 4,
    "trajectory": 4,
    "render": 4,
    "export": 4,
    "video": 5,
    "datasets": 5,
    "splats": 5,
    "pipeline": 6,
    "saving": 6,
    "doctor": 7,
    "results": 7,
    "evaluation": 7,
    "training": 7,
    "cli": 8,
    "__main__": 9,
}
HOST = ("comfy", "comfy_api", "comfy_extras", "folder_paths", "nodes", "server", "execution")
FILES = sorted(PACKAGE.rglob("*.py"))


def place_of(path: Path) -> str:
    """The folder or file of `reconx` that a module belongs to."""
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of every import, relative ones resolved against the file."""
    found = []
    package = ["reconx", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            found += [(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    place = place_of(path)
    wrong = []
    for line, name in imported_modules(path):
        head, *rest = name.split(".")
        if head in HOST:
            wrong.append(f"line {line} imports the host's {name}")
        if head != "reconx" or place == "__init__" or not rest or rest[0] in (place, "__version__"):
            continue
        if LAYERS[rest[0]] >= LAYERS[place]:
            wrong.append(f"line {line} imports {rest[0]}, which is not below {place}")
    assert not wrong, f"{path.name}: " + "; ".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_relative_and_files_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    absolute = [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.ImportFrom) and not node.level and node.module)
        and node.module.split(".")[0] == "reconx"
    ]
    assert not absolute, f"absolute import of reconx on lines {absolute}"
    assert text.count("\n") <= 420, "a file past 400 lines is two ideas"
    assert text.isascii(), "sources are plain ASCII"


def test_every_folder_has_a_layer() -> None:
    assert {place_of(path) for path in FILES} - {"__init__"} <= set(LAYERS)
