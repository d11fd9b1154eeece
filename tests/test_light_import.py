"""Real processes: `import whatsit` and `whatsit predict` load no heavy library, and the public list is honest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

import whatsit

HEAVY = {"torch", "timm", "tensorflow", "keras", "ray", "gradio", "sklearn", "matplotlib", "onnx", "fastapi", "uvicorn"}
HEAVY |= {"torchvision", "pandas", "scipy", "jinja2", "tensorboard", "onnxscript", "tkinter", "rich", "safetensors"}

# Runs the command line as the console script does, and then says which modules it left behind.
COMMAND = """
import json, sys
from whatsit.apps.cli.main import main
code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


def loaded_by(code: str, *arguments: object) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def names_after(statements: str) -> set[str]:
    return loaded_by(f"import json, sys\n{statements}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)")


def test_import_whatsit_loads_next_to_nothing() -> None:
    loaded = names_after("import whatsit")
    assert not loaded & HEAVY
    assert not loaded & {"numpy", "PIL", "onnxruntime", "click", "simplejpeg"}
    assert {name for name in loaded if name.startswith("whatsit.")} == {"whatsit.version"}


def test_every_public_name_loads_without_a_heavy_library() -> None:
    loaded = names_after("import whatsit\nfor name in whatsit.__all__: getattr(whatsit, name)")
    assert not {name.split(".")[0] for name in loaded} & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "-m", "MODEL", "PICTURE"],
        ["predict", "-m", "MODEL", "PICTURE", "PICTURE", "--format", "json"],
        ["evaluate", "-m", "MODEL", "PHOTOS", "--json"],
        ["show", "MODEL"],
        ["verify", "MODEL"],
        ["--help"],
        ["predict", "--help"],
        ["desktop", "--help"],
    ],
)
def test_using_a_model_loads_none(tmp_path: Path, make_photos: Callable[..., Path], arguments: list[str]) -> None:
    photos = make_photos(red=2, green=2)
    model = write_tiny_model(tmp_path / "model.onnx")
    known = {"MODEL": model, "PHOTOS": photos, "PICTURE": photos / "red" / "000.png"}
    loaded = loaded_by(COMMAND, *(known.get(argument, argument) for argument in arguments))
    assert not loaded & HEAVY
    if arguments[0] in ("show", "--help") or arguments[-1] == "--help":
        assert "onnxruntime" not in loaded


def test_the_python_api_loads_none(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    photos = make_photos(red=2)
    model = write_tiny_model(tmp_path / "model.onnx")
    loaded = names_after(
        f"import whatsit\nclf = whatsit.load({str(model)!r})\nclf.predict({str(photos / 'red' / '000.png')!r})\n"
        f"clf.score({str(photos)!r})\nwhatsit.Classifier(epochs=1)"
    )
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert not loaded & {"whatsit.downloads", "http.client"}  # it fetches nothing


def test_the_test_would_notice() -> None:
    assert "sklearn" in {name.split(".")[0] for name in names_after("import whatsit, sklearn")}


@pytest.mark.parametrize("name", whatsit.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(whatsit, name) is not None


def test_dir_and_star_are_the_public_list() -> None:
    assert sorted(whatsit.__all__) == list(whatsit.__all__)
    assert sorted(dir(whatsit)) == sorted(whatsit.__all__)
    assert set(whatsit.__all__) == {*whatsit._HOMES, "__version__"}
    star: dict[str, object] = {}
    exec("from whatsit import *", star)
    assert set(whatsit.__all__) <= set(star)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        _ = whatsit.clasify


def test_type_checkers_see_the_same_names() -> None:
    """The names under TYPE_CHECKING are those loaded on first use."""
    import ast

    tree = ast.parse(Path(whatsit.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == whatsit._HOMES
