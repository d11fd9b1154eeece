"""Weights kept in half precision: the same answers from half the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the 'train' extra")
onnx = pytest.importorskip("onnx")

from whatsit.recipe import Facts, Recipe, choose  # noqa: E402
from whatsit.training.torch_engine import half, networks  # noqa: E402
from whatsit.training.torch_engine.loop import TorchFitted  # noqa: E402
from whatsit.wishes import Wishes  # noqa: E402

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def recipe_for(stored: Any) -> Recipe:
    wishes = Wishes(recipe="accurate", network_args={"widths": [32, 48, 64]})
    return replace(choose(wishes, Facts(48_000, 1.0, 32, 32, False), None, "cpu")[0], stored=stored)


def fitted(stored: Any) -> TorchFitted:
    """A network as after training, with statistics of its own in every batch norm."""
    recipe = recipe_for(stored)
    torch.manual_seed(0)
    network = networks.build(recipe, 3, None)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, 3, 32, 32))
    return TorchFitted(network, recipe, networks.summary(network, (32, 32)))


def answers(graph: bytes) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {"pictures": PICTURES})[0])


def test_accurate_keeps_halves_and_the_others_do_not() -> None:
    facts = Facts(48_000, 1.0, 32, 32, False)
    stored = {name: choose(Wishes(recipe=name), facts, None, "cpu")[0].stored for name in ("fast", "accurate")}
    assert stored == {"fast": "float32", "accurate": "float16"}


def test_the_file_is_half_as_large_and_answers_as_the_rounded_network() -> None:
    whole, rounded = fitted("float32"), fitted("float16")
    graphs = [one.onnx(1.0) for one in (whole, rounded)]
    parameters = whole.network.total_parameters
    assert 4 * parameters < len(graphs[0]) < 4.5 * parameters + 50_000  # one copy of the weights for all views
    assert len(graphs[1]) < 2 * parameters + len(graphs[0]) - 4 * parameters + 50_000
    logits = rounded.logits(PICTURES)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(answers(graphs[1]) - expected).max() < 1e-5
    assert not np.array_equal(logits, whole.logits(PICTURES))
    assert np.allclose(logits, whole.logits(PICTURES), atol=0.01)


def test_what_float16_cannot_hold_stays_as_it_is() -> None:
    halves = np.linspace(-2, 2, 2048).astype(np.float16).astype(np.float32)
    weights = {"kept": halves + np.float32(1e-5), "huge": halves * 1e6, "few": halves[:8], "halved": halves}
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()]
    add = onnx.helper.make_node("Sum", ["kept", "huge", "halved"], ["sum"])
    graph = onnx.helper.make_graph(
        [add], "g", [], [onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [2048])], initializers
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    half.store_as_half(model)
    types = {one.name: one.data_type for one in model.graph.initializer}
    assert types == {
        "kept": onnx.TensorProto.FLOAT,
        "huge": onnx.TensorProto.FLOAT,
        "few": onnx.TensorProto.FLOAT,
        "halved.float16": onnx.TensorProto.FLOAT16,
    }
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {})[0], weights["kept"] + weights["huge"] + weights["halved"])
