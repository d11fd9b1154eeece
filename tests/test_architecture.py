"""The rules of ARCHITECTURE.md, read off the syntax tree. Each rule is also shown to fail when it is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "whatsit"

# The flow. A module may import from its own place and from places before it.
FLOW = [
    {"errors", "events", "version", "storage", "cache", "downloads"},
    {"images"},
    {"dataset", "sources"},
    {"doctor"},
    {"preprocess", "resizing", "catalogue", "weights"},
    {"augmentation", "recipe", "wishes"},
    {"training"},
    {"evaluation"},
    {"modelfile"},
    {"runtime"},
    {"transfer", "importers"},
    {"learning", "named_models", "pretrained", "runs", "run_report", "split_folders", "pipeline", "estimator"},
    {"apps", "__main__", "__init__"},
]
HOMES = {
    "torch": {"training/torch_engine", "importers/pytorch.py"},
    "timm": {"training/torch_engine"},
    "safetensors": {"training/torch_engine"},
    "onnx": {"training/torch_engine", "training/keras_engine", "transfer/graph.py", "importers"},
    "tensorflow": {"training/keras_engine"},
    "keras": {"training/keras_engine", "importers/keras_files.py"},
    "h5py": {"training/keras_engine", "importers/keras_files.py"},
    "tf2onnx": {"importers/tflite.py"},
    "ai_edge_litert": {"importers/tflite.py"},
    "huggingface_hub": {"weights.py"},
    "ray": {"scale"},
    "gradio": {"apps/web"},
    "fastapi": {"apps/web", "apps/server"},
    "starlette": {"apps/web", "apps/server"},
    "uvicorn": {"apps/server"},
    "fastapi_offline": {"apps/server"},
    "orjson": {"apps/server"},
    "prometheus_client": {"apps/server"},
    "pydantic": {"apps/server"},
    "python_multipart": {"apps/server"},
    "tkinter": {"apps/desktop"},
    "onnxruntime": {"runtime/onnxruntime_engine.py"},
    "sklearn": {"sources", "transfer/head.py"},
    "threadpoolctl": {"transfer/head.py"},
    "matplotlib": {"evaluation/plots.py"},
    "jinja2": {"evaluation/page.py"},
    "tensorboard": {"runs.py"},
    "tomli_w": {"runs.py"},
    "simplejpeg": {"images.py"},
    "cykooz_resizer": {"resizing.py"},
    "click": {"apps/cli"},
    "rich": {"apps/cli"},
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
LONGEST = 500  # lines


def violations(source: Path) -> list[str]:
    """Every broken rule in a tree laid out like src/whatsit."""
    files = sorted(source.rglob("*.py"))
    graph = {module_name(source, file): imports(source, file) for file in files}
    return [
        *(f"{file.name}: a forbidden name" for file in files if file.stem in FORBIDDEN_NAMES),
        *(f"{folder.name}/: a forbidden name" for folder in source.rglob("*/") if folder.name in FORBIDDEN_NAMES),
        *(f"{file.name}: over {LONGEST} lines" for file in files if len(file.read_text().splitlines()) > LONGEST),
        *backward_imports(graph),
        *strayed_libraries(source, files),
        *training_reached(graph),
        *layers_unknown(source, files),
    ]


def module_name(source: Path, file: Path) -> str:
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(source: Path, file: Path) -> set[str]:
    """The whatsit modules a file imports, wherever in the file, but not those for type checkers only."""
    found = set()
    for name in imported_names(file):
        if name == "whatsit" or name.startswith("whatsit."):
            path = name.split(".")[1:]
            while path and not exists(source, path):
                path.pop()
            if path:
                found.add(".".join(path))
    return found


def exists(source: Path, path: list[str]) -> bool:
    place = source.joinpath(*path)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def imported_names(file: Path) -> Iterator[str]:
    skipped = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(child) for child in ast.walk(node))
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "__import__"):
            argument = node.args[0]
            yield str(argument.value) if isinstance(argument, ast.Constant) else ""


def place(module: str) -> int:
    head = module.split(".")[0]
    return next((position for position, heads in enumerate(FLOW) if head in heads), len(FLOW))


def backward_imports(graph: dict[str, set[str]]) -> list[str]:
    return [
        f"{module} imports {target}, which comes after it in the flow"
        for module, targets in graph.items()
        for target in sorted(targets)
        if place(target) > place(module)
    ]


def strayed_libraries(source: Path, files: list[Path]) -> list[str]:
    found = []
    for file in files:
        where = file.relative_to(source).as_posix()
        for library in {name.split(".")[0] for name in imported_names(file)} & set(HOMES):
            if not any(where == home or where.startswith(f"{home}/") for home in HOMES[library]):
                found.append(f"{where} imports {library}, whose home is {', '.join(HOMES[library])}")
    return found


def training_reached(graph: dict[str, set[str]]) -> list[str]:
    """`runtime`, and the commands that only use a model, never reach `training`, not even through others."""
    commands = ("answers", "desktop", "files", "named_model", "page", "samples")
    only_use = (
        "apps.presenter",
        "apps.serving",
        "apps.served",
        "apps.feedback",
        "apps.folder_names",
        "apps.tables",
        *(f"apps.cli.{command}" for command in commands),
    )
    users = [m for m in graph if m.split(".")[0] == "runtime" or m in only_use]
    users += [m for m in graph if m.startswith(("apps.web", "apps.server", "apps.desktop"))]
    return [
        f"{user} reaches {reached}"
        for user in users
        for reached in sorted(closure(graph, user))
        if reached.startswith("training")
    ]


def closure(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for target in graph.get(todo.pop(), set()) - seen:
            seen.add(target)
            todo.append(target)
    return seen


def layers_unknown(source: Path, files: list[Path]) -> list[str]:
    heads = {file.relative_to(source).parts[0].removesuffix(".py") for file in files}
    return [f"{head} has no place in the flow" for head in sorted(heads) if place(head) == len(FLOW)]


def test_the_project_keeps_its_rules() -> None:
    assert violations(SOURCE) == []


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    for name in ("images", "recipe", "modelfile"):
        (tmp_path / f"{name}.py").write_text("")
    for name in ("training", "runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    assert violations(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("images.py", "from whatsit import modelfile", "images imports modelfile"),
        ("images.py", "def f():\n    import whatsit.runtime", "images imports runtime"),
        ("runtime/open.py", "from whatsit.training import loop", "reaches training"),
        ("recipe.py", "import torch.nn", "recipe.py imports torch"),
        ("runtime/other.py", "from onnxruntime import InferenceSession", "imports onnxruntime"),
        ("recipe.py", "x = 1\n" * 501, "over 500 lines"),
        ("training/utils.py", "", "utils.py: a forbidden name"),
        ("training/helpers/__init__.py", "", "helpers/: a forbidden name"),
        ("surprise.py", "", "surprise has no place in the flow"),
    ],
)
def test_a_planted_violation_is_found(small_tree: Path, file: str, text: str, complaint: str) -> None:
    planted = small_tree / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(text)
    assert any(complaint in violation for violation in violations(small_tree)), violations(small_tree)


def test_runtime_must_not_reach_training_through_another_module(small_tree: Path) -> None:
    (small_tree / "evaluation").mkdir()
    (small_tree / "evaluation" / "__init__.py").write_text("from whatsit import training")
    (small_tree / "runtime" / "open.py").write_text("from whatsit import evaluation")
    assert "runtime.open reaches training" in violations(small_tree)


def test_type_checking_imports_are_free(small_tree: Path) -> None:
    (small_tree / "images.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from whatsit import modelfile\n"
    )
    assert violations(small_tree) == []
