"""PyTorch weights and exported programs brought along; what could run code is never read."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from torch import nn  # noqa: E402

from whatsit.errors import ModelFileError, OptionError, WeightsError, WhatsitError  # noqa: E402
from whatsit.importers import exported_programs, finish  # noqa: E402
from whatsit.importers.choosing import bring  # noqa: E402
from whatsit.importers.pytorch import read_state  # noqa: E402
from whatsit.importers.quiet import quiet  # noqa: E402
from whatsit.importers.said import Said  # noqa: E402
from whatsit.runtime import OpenModel  # noqa: E402
from whatsit.training.torch_engine import brought_networks, cifar_resnets  # noqa: E402

LABELS = ("a", "b", "c")
SAID = Said(labels=LABELS, preprocess="imagenet", network="cifar_resnet8")


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.conv(x).relu().mean((2, 3)))
        return logits


@pytest.fixture(scope="module", autouse=True)
def smallest() -> Iterator[None]:
    """The smallest of its kind, which the paper does not have, spares the tests half their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cifar_resnets.CIFAR_RESNETS, "cifar_resnet8", 1)
        yield


@pytest.fixture(scope="module")
def state(smallest: None) -> dict[str, Any]:
    torch.manual_seed(0)
    return dict(cifar_resnets.build("cifar_resnet8", 3).state_dict())


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [("cifar_resnet20", 20, 0.27), ("cifar_resnet56", 56, 0.85)],
)
def test_the_cifar_resnets_have_the_layers_and_parameters_of_the_paper(
    name: str, layers: int, parameters: float
) -> None:
    network = cifar_resnets.build(name, 10)
    weights = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) == layers
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, abs=0.03)
    assert network.embed(torch.zeros(2, 3, 32, 32)).shape == (2, 64)


def test_a_state_dict_becomes_a_model_file_that_answers_as_the_network(state: dict[str, Any], tmp_path: Path) -> None:
    wrapped = OrderedDict((f"module.{name}", value) for name, value in state.items())
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "net.th")
    brought = bring(tmp_path / "net.th", SAID)
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert model.manifest.recipe["model"] == "cifar_resnet8"
    assert model.manifest.preprocess.size == (32, 32)
    network = cifar_resnets.build("cifar_resnet8", 3)
    network.load_state_dict(state)
    picture = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    scaled = (picture / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    with torch.no_grad():
        scores = network.eval()(torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32))
    assert np.allclose(model.answers(picture), scores.softmax(1).numpy(), atol=1e-4)


def test_a_timm_network_takes_its_classes_from_the_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    save_file = pytest.importorskip("safetensors.torch").save_file
    network = timm.create_model("resnet10t", num_classes=3)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    built = brought_networks.build("timm:resnet10t", {}, read_state(tmp_path / "net.safetensors"), "net")
    assert built.size == (176, 176)
    assert torch.equal(built.network(torch.ones(1, 3, 64, 64)), network.eval()(torch.ones(1, 3, 64, 64)))


def test_the_description_beside_a_file_need_not_be_said(state: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    known = {"framework": "torch", "network": "cifar_resnet8", "preprocess": "imagenet", "input_size": [32, 32]}
    known |= {"licence": "BSD", "interpolation": "lanczos"}
    (tmp_path / "net.pth.json").write_text(json.dumps(known))
    brought = bring(tmp_path / "net.pth", Said(labels=LABELS))
    assert brought.weights["licence"] == "BSD"
    assert brought.preprocess.interpolation == "lanczos"


def test_a_described_size_may_have_two_sides(state: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    known = {"framework": "torch", "network": "cifar_resnet8", "preprocess": "imagenet", "input_size": [64, 32]}
    (tmp_path / "net.pth.json").write_text(json.dumps({**known, "interpolation": "lanczos", "fit": "squash"}))
    preprocess = bring(tmp_path / "net.pth", Said(labels=LABELS)).preprocess
    assert (preprocess.size, preprocess.fit, preprocess.interpolation) == ((64, 32), "squash", "lanczos")
    assert bring(tmp_path / "net.pth", Said(labels=LABELS, image_size=48)).preprocess.size == (48, 48)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def _bomb(path: Path, target: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "bomb": Bomb(target)}, path)


def _old_bomb(path: Path, target: Path) -> None:
    torch.save({"bomb": Bomb(target)}, path, _use_new_zipfile_serialization=False)


def _bare_bomb(path: Path, target: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(target)))


@pytest.mark.parametrize("make", [_bomb, _old_bomb, _bare_bomb])
def test_a_pickle_bomb_does_not_run(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    path, target = tmp_path / "bomb.pth", tmp_path / "it-ran"
    make(path, target)
    with pytest.raises(ModelFileError) as caught:
        bring(path, SAID)
    assert not target.exists()
    assert "pickled objects are never loaded" in caught.value.accepted
    assert caught.value.exit_code == 2


def _module(path: Path) -> None:
    torch.save(Tiny(), path)


def _script(path: Path) -> None:
    with quiet():
        torch.jit.save(torch.jit.trace(Tiny(), torch.zeros(1, 3, 8, 8)), str(path))


def _list(path: Path) -> None:
    torch.save([torch.zeros(1)], path)


def _no_tensors(path: Path) -> None:
    torch.save({"epoch": 3}, path)


def _cut_off(path: Path) -> None:
    torch.save(Tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])


def _text(path: Path) -> None:
    path.write_text("no weights at all")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_module, "pickled objects of Python"),
        (_script, "TorchScript"),
        (_list, "a pickled list"),
        (_no_tensors, "without tensors"),
        (_cut_off, ""),
        (_text, ""),
    ],
)
def test_what_is_no_state_dict_is_refused(make: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    make(tmp_path / "net.pt")
    with pytest.raises(ModelFileError) as caught:
        read_state(tmp_path / "net.pt")
    assert reason in str(caught.value.value)


def test_a_cut_off_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "net.safetensors"
    save_file(Tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelFileError, match="whole safetensors file"):
        bring(path, SAID)


def test_weights_of_another_network_are_refused(state: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    for network, reason in (("cifar_resnet32", "missing"), ("resnet18", "no last layer 'fc.weight'")):
        with pytest.raises(WeightsError) as caught:
            bring(tmp_path / "net.pth", Said(labels=LABELS, preprocess="imagenet", network=network))
        assert reason in str(caught.value.value)
    torch.save({**state, "extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"1 of \d+ tensors of another network, the first: extra.weight"):
        bring(tmp_path / "more.pth", SAID)


def test_names_and_numbers_that_do_not_fit_are_said(state: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(OptionError, match="--network"):
        bring(tmp_path / "net.pth", Said(labels=LABELS, preprocess="imagenet"))
    with pytest.raises(OptionError, match=r"Did you mean 'cifar_resnet\d+' or"):
        bring(tmp_path / "net.pth", Said(labels=LABELS, preprocess="imagenet", network="cifar_resnet21"))
    with pytest.raises(OptionError, match="got 2 labels; accepted: 3 labels"):
        bring(tmp_path / "net.pth", Said(labels=("a", "b"), preprocess="imagenet", network="cifar_resnet8"))
    with pytest.raises(OptionError, match="--network-arg"):
        bring(tmp_path / "net.pth", Said(labels=LABELS, network="cifar_resnet8", network_args={"depth": 3}))


# ---- exported programs


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    with quiet():
        shape = ({0: torch.export.Dim("N", min=1)},)
        exported = torch.export.export(Tiny().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=shape)
        torch.export.save(exported, path)
    return path


def test_an_exported_program_becomes_a_model_file(program: Path, tmp_path: Path) -> None:
    brought = bring(program, Said(labels=LABELS, preprocess="0..1"))
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert model.manifest.preprocess.size == (8, 8)
    assert model.manifest.recipe["format"] == "torch.export"


def rewritten(program: Path, path: Path, change: Callable[[dict[str, Any]], None], member: str) -> Path:
    """A copy of the archive with one JSON member changed."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(member):
                data = json.loads(content)
                change(data)
                content = json.dumps(data).encode()
            new.writestr(name, content)
    return path


def _first_node(data: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = data["graph_module"]["graph"]["nodes"][0]
    return node


def _strange_operator(data: dict[str, Any]) -> None:
    _first_node(data)["target"] = "torch.os.system"


def _file_operator(data: dict[str, Any]) -> None:
    _first_node(data)["target"] = "torch.ops.aten.from_file.default"


def _strange_size(data: dict[str, Any]) -> None:
    values = data["graph_module"]["graph"]["tensor_values"]
    values["x"]["sizes"][0]["as_expr"]["expr_str"] = "__import__('os').system('true')"


def _strange_text(data: dict[str, Any]) -> None:
    _first_node(data)["inputs"][0]["arg"] = {"as_string": "/etc/passwd"}


def _pickled(data: dict[str, Any]) -> None:
    next(iter(data["config"].values()))["use_pickle"] = True


@pytest.mark.parametrize(
    ("change", "member", "reason"),
    [
        (_strange_operator, "model.json", "torch.os.system"),
        (_file_operator, "model.json", "from_file"),
        (_strange_size, "model.json", "__import__"),
        (_strange_text, "model.json", "/etc/passwd"),
        (_pickled, "model_weights_config.json", "pickled tensor"),
    ],
)
def test_a_program_that_could_run_code_is_refused(
    program: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], member: str, reason: str
) -> None:
    path = rewritten(program, tmp_path / "strange.pt2", change, member)
    with pytest.raises(ModelFileError) as caught:
        exported_programs.cleaned(path)
    assert reason in str(caught.value.value)


@pytest.mark.parametrize("content", ["{}", '{"config": []}', '{"config": {"x": 3}}', "[]", "no JSON"])
def test_a_programs_list_of_weights_that_is_none_is_refused(program: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "strange.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("weights_config.json") else old.read(name))
    with pytest.raises(ModelFileError, match="cannot be read"):
        exported_programs.cleaned(path)


def test_guards_and_sample_inputs_which_pytorch_would_run_are_left_out(program: Path, tmp_path: Path) -> None:
    target = tmp_path / "it-ran"

    def guarded(data: dict[str, Any]) -> None:
        data["guards_code"] = [f"__import__('os').mkdir({str(target)!r}) is None"]

    path = rewritten(program, tmp_path / "guarded.pt2", guarded, "models/model.json")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "both.pt2", "w") as new:
        for name in old.namelist():
            bomb = pickle.dumps(Bomb(target)) if "sample_inputs" in name else old.read(name)
            new.writestr(name, bomb)
    content, _ = exported_programs.cleaned(tmp_path / "both.pt2")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert b'"guards_code": []' in archive.read("net/models/model.json")
        assert archive.read("net/data/sample_inputs/model.pt") == b""
    finish.write(bring(tmp_path / "both.pt2", Said(labels=LABELS, preprocess="0..1")), tmp_path / "out.onnx")
    assert not target.exists()


def test_cut_off_and_foreign_archives_are_refused(program: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(program.read_bytes()[:-200])
    other = tmp_path / "other.pt2"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("x/readme", "no program")
    text = tmp_path / "text.pt2"
    text.write_text("no program")
    for path in (cut, other, text):
        with pytest.raises(WhatsitError):
            bring(path, Said(labels=LABELS, preprocess="0..1"))


def test_the_real_resnet20_is_right_about_cifar10(shared: Path, tmp_path: Path) -> None:
    from whatsit.sources.published import PUBLISHED

    path = shared / "models_to_import" / "torch_resnet20_cifar10.th"
    brought = bring(path, Said(labels=PUBLISHED["cifar10"].classes, preprocess="imagenet", network="cifar_resnet20"))
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    pictures, targets = first_test_pictures(shared)
    ours = model.answers(pictures)
    assert (ours.argmax(axis=1) == targets).mean() > 0.9
    assert (ours.argmax(axis=1) == brought.original(pictures).argmax(axis=1)).mean() >= 0.995


def first_test_pictures(shared: Path) -> tuple[Any, Any]:
    """The first 1,000 CIFAR-10 test pictures uint8 [1000, 32, 32, 3] and their classes."""
    from PIL import Image

    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test_batch_0.webp").convert("RGB"))
    pictures = sheet.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)
    return pictures, np.fromfile(shared / "data" / "cifar10" / "test_batch.labels", np.uint8)[:1000]
