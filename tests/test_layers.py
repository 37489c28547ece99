"""Hold the arrows: app.py -> ooc_app -> {training, db}; training -> db.vocabulary; db -> nothing."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT_DIR = Path(__file__).resolve().parents[1]
PACKAGES = ("ooc_app", "training", "db")
MAY_IMPORT = {
    "app": {"ooc_app"},
    "ooc_app": {"ooc_app", "training", "db"},
    "training": {"training"},  # and db.vocabulary, see below
    "db": {"db"},
    "benchmarks": {"benchmarks", "ooc_app", "training", "db"},
}
TORCH_AND_FRIENDS = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "datasets"}
LINES_MAX = 400
WRITTEN_BY_HAND = {".py", ".css", ".js", ".html"}


def modules() -> list[Path]:
    """Every module of the project that is not a test."""
    found = [PROJECT_DIR / "app.py"] if (PROJECT_DIR / "app.py").exists() else []
    for package in (*PACKAGES, "benchmarks"):
        found += sorted((PROJECT_DIR / package).rglob("*.py"))
    return found


def dotted(path: Path) -> str:
    """The name a module is imported by."""
    parts = path.relative_to(PROJECT_DIR).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node: ast.AST) -> Iterator[str]:
    """Every module an import statement may load: `from db import queue` names db and db.queue."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        for alias in node.names:
            inner = PROJECT_DIR.joinpath(*node.module.split("."), alias.name)
            if inner.is_dir() or inner.with_suffix(".py").exists():
                yield f"{node.module}.{alias.name}"


def imported(path: Path) -> set[str]:
    """Every module imported anywhere in a file."""
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imports(node)}


def imported_on_import(path: Path) -> set[str]:
    """Every module imported by importing the file: not in functions, not for type checking alone."""
    names: set[str] = set()
    open_nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while open_nodes:
        node = open_nodes.pop()
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or for_types:
            continue
        names.update(imports(node))
        open_nodes.extend(ast.iter_child_nodes(node))
    return names


def first(name: str) -> str:
    """The top package of a module."""
    return name.partition(".")[0]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_every_import_follows_the_arrows(path: Path) -> None:
    own = first(dotted(path))
    project = {name for name in imported(path) if first(name) in MAY_IMPORT}
    if own == "training":
        project -= {"db", "db.vocabulary"} if "db.vocabulary" in project else {"db.vocabulary"}
    assert {name for name in project if first(name) not in MAY_IMPORT[own]} == set()


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_every_import_is_written_in_full(path: Path) -> None:
    relative = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]
    assert relative == []


@pytest.mark.parametrize(
    "path", [path for path in modules() if first(dotted(path)) in ("app", "ooc_app", "db")], ids=dotted
)
def test_torch_and_friends_are_left_to_training(path: Path) -> None:
    heavy = TORCH_AND_FRIENDS - {"datasets"}
    assert {name for name in imported(path) if first(name) in heavy} == set()
    assert {name for name in imported_on_import(path) if first(name) in TORCH_AND_FRIENDS} == set()


def run_python(code: str, cwd: Path) -> str:
    """Run code with the project importable; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT_DIR), "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_and_every_module_of_the_app_load_without_torch(tmp_path: Path) -> None:
    names = [dotted(path) for path in modules() if first(dotted(path)) in ("app", "ooc_app", "db")]
    names = [name for name in names if not name.endswith(("__main__", ".env")) and ".versions" not in name]
    free = (
        "config",
        "records",
        "prompts",
        "world",
        "preferences",
        "teacher_question",
        "teachers",
        "teaching",
    )
    names += [f"training.{name}" for name in free if (PROJECT_DIR / "training" / f"{name}.py").exists()]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += f"print(sorted({TORCH_AND_FRIENDS!r} & sys.modules.keys()))"
    assert run_python(code, tmp_path).strip() == "[]"


def test_the_command_line_loads_without_the_page(tmp_path: Path) -> None:
    code = "import sys, ooc_app.__main__\nprint(sorted({'gradio', 'pandas', 'torch'} & sys.modules.keys()))"
    assert run_python(code, tmp_path).strip() == "[]"


def test_importing_the_app_leaves_nothing_on_disk_and_starts_no_thread(tmp_path: Path) -> None:
    code = (
        "import threading, ooc_app.page, ooc_app.desk, ooc_app.intake.native\nprint(threading.active_count())"
    )
    assert run_python(code, tmp_path).strip() == "1"
    assert list(tmp_path.iterdir()) == []


def test_every_module_is_named_in_the_architecture_and_the_other_way_round() -> None:
    text = (PROJECT_DIR / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+\.py)`", text))
    assert {name for name in named if not (PROJECT_DIR / name).exists()} == set()
    existing = {
        path.relative_to(PROJECT_DIR).as_posix()
        for path in modules()
        if path.name != "__init__.py" and path.parent.name != "versions"
    }
    assert existing - named == set()


def test_no_file_is_longer_than_one_can_read() -> None:
    shipped = [path for path in (PROJECT_DIR / "assets").rglob("*") if "student" not in path.parts]
    written = [path for path in (*modules(), *shipped) if path.suffix in WRITTEN_BY_HAND]
    lines = {path.relative_to(PROJECT_DIR).as_posix(): path.read_text().count("\n") for path in written}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}
