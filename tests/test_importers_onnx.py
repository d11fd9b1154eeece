"""ONNX files brought along: the nodes around them, what is found in them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="needs the 'train' extra")
pytest.importorskip("sklearn", reason="needs the 'train' extra")

from foreign_graphs import BIAS, WEIGHT, flattened, mean_colour, save, with_words  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from whatsit import modelfile  # noqa: E402
from whatsit.errors import ModelFileError, OptionError, WhatsitError  # noqa: E402
from whatsit.evaluation.calibration import softmax  # noqa: E402
from whatsit.importers import finish  # noqa: E402
from whatsit.importers.choosing import bring  # noqa: E402
from whatsit.importers.said import Said  # noqa: E402
from whatsit.preprocess import scaling_named  # noqa: E402
from whatsit.runtime import OpenModel  # noqa: E402

LABELS = ("a", "b", "c")
SAID = Said(labels=LABELS, preprocess="imagenet")


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


def expected(pictures: NDArray[np.uint8], scaling: str) -> NDArray[np.float32]:
    """The logits, worked out by hand."""
    known = scaling_named(scaling)
    scaled = (pictures / 255 - np.array(known.mean)) / np.array(known.std)
    scaled = scaled[..., ::-1] if known.bgr else scaled
    return (scaled.mean(axis=(1, 2)) @ WEIGHT + BIAS).astype(np.float32)


def imported(tmp_path: Path, said: Said = SAID, **options: Any) -> OpenModel:
    path = save(tmp_path / "foreign.onnx", **options)
    return OpenModel(finish.write(bring(path, said), tmp_path / "out.onnx"))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("scaling", ["imagenet", "0..1", "caffe"])
def test_scaling_and_layout_are_inside_the_graph(
    tmp_path: Path, pictures: NDArray[np.uint8], layout: str, scaling: str
) -> None:
    model = imported(tmp_path, Said(labels=LABELS, preprocess=scaling), layout=layout)
    assert np.allclose(model.answers(pictures), softmax(expected(pictures, scaling)), atol=1e-4)


@pytest.mark.parametrize("opset", [9, 12, 17])
def test_graphs_of_old_and_new_opsets_are_wrapped(tmp_path: Path, pictures: NDArray[np.uint8], opset: int) -> None:
    answers = imported(tmp_path, opset=opset, last="Softmax").answers(pictures)
    assert np.allclose(answers, softmax(expected(pictures, "imagenet")), atol=1e-5)


def test_answers_that_are_probabilities_are_not_put_through_softmax_again(
    tmp_path: Path, pictures: NDArray[np.uint8]
) -> None:
    once = softmax(expected(pictures, "imagenet"))
    assert np.allclose(imported(tmp_path, last="Softmax").answers(pictures), once, atol=1e-5)


def test_one_yes_or_no_answer_becomes_two_labels(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    yes = 1 / (1 + np.exp(-expected(pictures, "imagenet")[:, 0]))
    for last in (None, "Sigmoid"):
        model = imported(tmp_path, Said(labels=("no", "yes"), preprocess="imagenet"), classes=1, last=last)
        assert np.allclose(model.answers(pictures), np.stack([1 - yes, yes], axis=1), atol=1e-5)


def test_integer_inputs_take_the_pixels_as_they_are(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    said = Said(labels=LABELS)
    dark = pictures // 64  # scores near enough for probabilities between 0 and 1
    rows = dark.mean(axis=(1, 2)) @ WEIGHT + BIAS
    model = imported(tmp_path, said, layout="NHWC", dtype=TensorProto.UINT8)
    assert np.allclose(model.answers(dark), softmax(rows.astype(np.float32)), atol=1e-5)
    shifted = dark + np.uint8(128)
    model = imported(tmp_path, said, layout="NHWC", dtype=TensorProto.INT8)
    assert np.allclose(model.answers(shifted), softmax(rows.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize(("dtype", "offset"), [(TensorProto.UINT8, 0), (TensorProto.INT8, -128)])
def test_integer_inputs_take_no_other_scaling_than_their_own(tmp_path: Path, dtype: int, offset: int) -> None:
    path = save(tmp_path / "cast.onnx", layout="NHWC", dtype=dtype)
    with pytest.raises(ModelFileError, match=f"--preprocess imagenet.* mean {offset} to {255 + offset}"):
        bring(path, SAID)
    model = mean_colour(layout="NHWC", dtype=dtype)
    zero = numpy_helper.from_array(np.array(128 + offset, np.uint8 if offset == 0 else np.int8), "zero")
    model.graph.initializer.extend([numpy_helper.from_array(np.float32(1 / 127.5), "scale"), zero])
    dequantised = helper.make_node("DequantizeLinear", ["pictures", "scale", "zero"], ["floats"])
    model.graph.node[0].CopyFrom(dequantised)
    path = save(tmp_path / "dequantised.onnx", model)
    with pytest.raises(ModelFileError, match=r"--preprocess imagenet.* mean -1 to 0\.996"):
        bring(path, SAID)
    assert bring(path, Said(labels=LABELS, preprocess="-1..1")).labels == LABELS


def test_a_graph_for_one_picture_answers_stacks(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    model = imported(tmp_path, batch=1)
    assert np.allclose(model.answers(pictures), softmax(expected(pictures, "imagenet")), atol=1e-5)
    assert len(model.predict(list(pictures))) == 5


@pytest.mark.parametrize("shape", [(1, 192), (1, -1)])
def test_a_graph_for_one_picture_inside_answers_stacks(
    tmp_path: Path, pictures: NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    path = save(tmp_path / "foreign.onnx", flattened(shape=shape))
    model = OpenModel(finish.write(bring(path, SAID), tmp_path / "out.onnx"))
    assert np.allclose(model.answers(pictures), softmax(expected(pictures, "imagenet")), atol=1e-5)


def test_a_graph_that_joins_its_answers_is_asked_one_picture_at_a_time(
    tmp_path: Path, pictures: NDArray[np.uint8]
) -> None:
    model = mean_colour()
    model.graph.node.append(helper.make_node("Reshape", ["scores", "one"], ["joined"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "one"))
    model.graph.output[0].name = "joined"
    out = finish.write(bring(save(tmp_path / "foreign.onnx", model), SAID), tmp_path / "out.onnx")
    assert np.allclose(OpenModel(out).answers(pictures), softmax(expected(pictures, "imagenet")), atol=1e-5)


def test_a_size_that_the_graph_cannot_answer_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "any.onnx", flattened(size=("H", "W")))
    said = Said(labels=LABELS, preprocess="imagenet", image_size=64)
    with pytest.raises(ModelFileError, match="3x64x64"):
        bring(path, said)
    assert bring(path, replace(said, image_size=8)).preprocess.size == (8, 8)


def test_outputs_of_words_hold_no_scores(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    path = save(tmp_path / "words.onnx", with_words())
    assert np.allclose(bring(path, SAID).original(pictures), softmax(expected(pictures, "imagenet")), atol=1e-5)
    with pytest.raises(ModelFileError, match=r"2 outputs: scores \(3\), classLabel \(0\)"):
        bring(path, Said(labels=("a", "b"), preprocess="imagenet"))


def test_the_embedding_is_what_the_last_layer_sees(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    known = scaling_named("imagenet")
    means = ((pictures / 255 - np.array(known.mean)) / np.array(known.std)).mean(axis=(1, 2))
    assert np.allclose(imported(tmp_path, last="Softmax").embed(list(pictures)), means, atol=1e-5)


def test_nothing_of_the_exporters_machine_stays_in_the_file(tmp_path: Path) -> None:
    model = mean_colour(last="Softmax")
    helper.set_model_props(model, {"author": "somebody"})
    path = save(tmp_path / "foreign.onnx", model)
    content = finish.write(bring(path, SAID), tmp_path / "out.onnx").read_bytes()
    assert b"secret" not in content
    assert b"somebody" not in content
    assert str(tmp_path).encode() not in content


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    manifest = imported(tmp_path).manifest
    assert manifest.recipe == {"model": "foreign", "scaling": "imagenet", "format": "onnx"}
    assert manifest.weights["pretrained"] == "foreign.onnx"
    assert len(manifest.weights["sha256"]) == 64
    assert manifest.weights["parameters"] == 12
    assert manifest.weights["largest_difference"] < 1e-4


def test_of_several_outputs_the_one_with_as_many_scores_as_labels_is_taken(
    tmp_path: Path, pictures: NDArray[np.uint8]
) -> None:
    said = Said(labels=("no", "yes", "maybe", "late"), preprocess="imagenet")
    with pytest.raises(ModelFileError, match=r"2 outputs: scores \(3\), means \(3\)"):
        bring(save(tmp_path / "two.onnx", outputs=2), said)
    one = save(tmp_path / "one.onnx", outputs=2, classes=2)
    brought = bring(one, Said(labels=("no", "yes"), preprocess="imagenet"))
    assert np.allclose(brought.original(pictures), softmax(expected(pictures, "imagenet")[:, :2]), atol=1e-5)


@pytest.mark.parametrize(
    ("said", "options", "wanted"),
    [
        (Said(preprocess="imagenet"), {}, "--labels with a file of 3 names"),
        (Said(labels=LABELS), {}, "--preprocess with one of imagenet, -1..1"),
        (SAID, {"size": ("H", "W")}, "--image-size"),
    ],
)
def test_what_cannot_be_told_from_the_file_is_asked_for_by_name(
    tmp_path: Path, said: Said, options: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(OptionError) as caught:
        bring(save(tmp_path / "foreign.onnx", **options), said)
    assert wanted in caught.value.accepted


def test_labels_of_the_wrong_length_name_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        bring(save(tmp_path / "foreign.onnx"), Said(labels=("a", "b"), preprocess="imagenet"))
    assert "2 labels" in str(caught.value.value)
    assert "3 labels" in caught.value.accepted


def test_any_size_takes_the_size_said_and_a_fixed_one_no_other(tmp_path: Path) -> None:
    said = Said(labels=LABELS, preprocess="imagenet", image_size=12, fit="pad")
    brought = bring(save(tmp_path / "any.onnx", size=("H", "W")), said)
    assert (brought.preprocess.size, brought.preprocess.fit) == ((12, 12), "pad")
    with pytest.raises(OptionError, match="got 12x12; accepted: 8x8"):
        bring(save(tmp_path / "fixed.onnx"), said)


def _text(path: Path) -> None:
    path.write_text("this is no model, though its name says so\n")


def _cut_off(path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-60])


def _external(path: Path) -> None:
    big = numpy_helper.from_array(np.ones(3, np.float32), "bias")
    big.data_location = TensorProto.EXTERNAL
    big.external_data.add(key="location", value="/etc/passwd")
    big.ClearField("raw_data")
    model = mean_colour()
    model.graph.initializer[1].CopyFrom(big)
    path.write_bytes(model.SerializeToString())


def _two_inputs(path: Path) -> None:
    model = mean_colour()
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]))
    save(path, model)


def _text_input(path: Path) -> None:
    save(path, dtype=TensorProto.INT64)


def _detector(path: Path) -> None:
    model = mean_colour()
    model.graph.node.append(helper.make_node("Unsqueeze", ["scores"], ["boxes"], axes=[1]))
    model.graph.node.append(helper.make_node("Tile", ["boxes", "times"], ["many"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 5, 1]), "times"))
    model.graph.output[0].name = "many"
    model.opset_import[0].version = 11
    save(path, model)


def _only_words(path: Path) -> None:
    model = with_words()
    del model.graph.output[0]
    save(path, model)


def _scalar(path: Path) -> None:
    model = mean_colour()
    model.graph.node.append(helper.make_node("ReduceMean", ["scores"], ["one"], keepdims=0))
    model.graph.output[0].name = "one"
    save(path, model)


def _rows_of_classes(path: Path) -> None:
    model = mean_colour()
    model.graph.node.append(helper.make_node("Transpose", ["scores"], ["turned"], perm=[1, 0]))
    model.graph.output[0].name = "turned"
    save(path, model)


def _ours(path: Path) -> None:
    foreign = save(path.with_name("foreign.onnx"))
    finish.write(bring(foreign, SAID), path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_text, "ONNX"),
        (_cut_off, "ONNX"),
        (_empty, "without a graph"),
        (_external, "weights kept in other files"),
        (_two_inputs, "2 inputs: pictures, state"),
        (_text_input, "an input of shape anyx3x8x8"),
        (_detector, "answers of shape 5x3"),
        (_only_words, "could not convert string"),
        (_scalar, "zero-dimensional"),
        (_rows_of_classes, "6 answers to 2 pictures"),
        (_ours, "a model file of whatsit already"),
        (lambda path: save(path, last="Sigmoid"), "yes or no by themselves"),
        (lambda path: save(path, batch=4), "4 pictures at a time"),
        (lambda path: save(path, mean_colour(opset=99)), "opset"),
    ],
)
def test_what_is_no_classifier_of_pictures_is_refused(tmp_path: Path, make: Any, reason: str) -> None:
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(WhatsitError) as caught:
        bring(path, SAID)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        bring(tmp_path / "gone.onnx", SAID)
    (tmp_path / "model.pkl").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"a file of type '.pkl'"):
        bring(tmp_path / "model.pkl", SAID)


def test_the_real_quantised_shufflenet_answers_as_it_did(shared: Path, tmp_path: Path) -> None:
    from whatsit.importers.labels import read_labels

    folder = shared / "models_to_import"
    labels = read_labels(folder / "imagenet_labels_1001.txt")[1:]
    path = folder / "shufflenet-v2-12-int8.onnx"
    brought = bring(path, Said(labels=labels, preprocess="imagenet"))
    assert brought.quantised
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert model.predict(shared / "data" / "photos" / "lion.jpg").label == "lion, king of beasts, Panthera leo"
    assert modelfile.verify(model.manifest, model.answers) == 0
    photos = sorted((shared / "data" / "clothing" / "test").rglob("*.jpg"))[::6]
    from whatsit import images

    prepared = np.stack([brought.preprocess.apply(images.load(photo)) for photo in photos])
    ours, theirs = model.answers(prepared), brought.original(prepared)
    ranked = np.sort(theirs, axis=1)
    decided = ranked[:, -1] - ranked[:, -2] > 12 / 256
    assert decided.sum() > 40
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1))[decided].all()
