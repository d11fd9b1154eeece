"""Networks by name: the dozen, Keras's and timm's, and what happens to names that nobody knows."""

from __future__ import annotations

import pytest

from whatsit import catalogue
from whatsit.catalogue import curated, find, full_name, imagenet_labels, keras_applications
from whatsit.errors import OptionError, WeightsError
from whatsit.preprocess import SCALINGS, Preprocess


def test_the_dozen_is_there() -> None:
    named = {"mobilenet_v2", "mobilenet_v3", "resnet18", "resnet50", "vgg16", "efficientnet", "convnext", "vit", "swin"}
    assert named | {"dinov2"} <= set(curated())
    assert len(curated()) == 12


@pytest.mark.parametrize("spec", [*curated().values(), *keras_applications().values()], ids=lambda spec: spec.name)
def test_every_entry_can_be_used_as_it_stands(spec: catalogue.ModelSpec) -> None:
    assert spec.preprocess in SCALINGS
    Preprocess(spec.fit, spec.input_size, spec.interpolation, spec.resize_shorter)
    assert spec.resize_shorter is not None
    assert spec.resize_shorter >= spec.input_size[0]
    assert spec.parameters is None or spec.parameters > 1_000_000
    assert spec.accuracy is None or 0.6 < spec.accuracy < 0.9
    assert spec.keras is None or spec.keras in keras_applications()


@pytest.mark.parametrize("spec", curated().values(), ids=lambda spec: spec.name)
def test_the_dozen_is_what_timm_says_about_it(spec: catalogue.ModelSpec) -> None:
    names = pytest.importorskip("whatsit.training.torch_engine.names")
    told = names.spec(f"timm:{spec.network}")
    assert (told.network, told.source, told.preprocess) == (spec.network, spec.source, spec.preprocess)
    assert (told.interpolation, told.fit, told.classes) == (spec.interpolation, spec.fit, spec.classes)
    assert told.licence.lower() == spec.licence.lower()
    if not spec.arguments:  # DINOv2 is used on smaller pictures than it was published with
        assert (told.input_size, told.resize_shorter) == (spec.input_size, spec.resize_shorter)


def test_resnet18_has_the_weights_of_the_tutorials() -> None:
    assert curated()["resnet18"].source == "timm/resnet18.tv_in1k"


def test_dinov2_has_no_classes() -> None:
    assert curated()["dinov2"].classes is None


@pytest.mark.parametrize(
    ("name", "framework", "full"),
    [
        ("resnet18", None, "resnet18"),
        ("resnet34", None, "timm:resnet34"),
        ("timm:resnet18", "torch", "timm:resnet18"),
        ("keras:VGG16", None, "keras:VGG16"),
        ("mobilenet_v2", "keras", "keras:MobileNetV2"),
        ("Xception", "keras", "keras:Xception"),
    ],
)
def test_names_in_full(name: str, framework: catalogue.Framework | None, full: str) -> None:
    assert full_name(name, framework) == full


def test_what_is_found() -> None:
    resnet, keras = find("resnet18"), find("resnet50", "keras")
    assert resnet is not None
    assert keras is not None
    assert (resnet.network, resnet.framework) == ("resnet18.tv_in1k", "torch")
    assert (keras.name, keras.preprocess, keras.framework) == ("keras:ResNet50", "caffe", "keras")
    assert find("resnet34") is None  # timm knows


@pytest.mark.parametrize(
    ("name", "framework", "message"),
    [
        ("keras:MobilNetV2", None, "Did you mean 'keras:MobileNetV2'"),
        ("keras:mobilenetv2", None, "Did you mean 'keras:MobileNetV2'"),
        ("resnet18", "keras", "keras.applications has no such network"),
        ("timm:resnet18", "keras", "accepted: --framework torch"),
        ("keras:VGG16", "torch", "accepted: --framework keras"),
    ],
)
def test_a_wrong_name_is_refused(name: str, framework: catalogue.Framework | None, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        find(name, framework)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:mobilenet_v22", "Did you mean 'mobilenet_v2'"),
        ("timm:resnett18", "'resnet18'"),
        ("timm:resnet18.tv", "'resnet18.tv_in1k'"),
    ],
)
def test_timms_names_get_suggestions_too(name: str, message: str) -> None:
    names = pytest.importorskip("whatsit.training.torch_engine.names")
    with pytest.raises(OptionError, match=message):
        names.spec(name)


def test_timms_own_geometry_is_kept() -> None:
    names = pytest.importorskip("whatsit.training.torch_engine.names")
    usual = names.spec("timm:resnet18")
    assert (usual.name, usual.network, usual.source) == ("timm:resnet18", "resnet18.a1_in1k", "timm/resnet18.a1_in1k")
    assert (usual.input_size, usual.resize_shorter, usual.interpolation) == ((224, 224), 235, "bicubic")
    clip = names.spec("timm:vit_base_patch16_clip_224.openai")
    assert (clip.preprocess, clip.classes) == ("clip", None)
    squashed = names.spec("timm:coatnet_rmlp_2_rw_384.sw_in12k_ft_in1k")
    assert (squashed.fit, squashed.resize_shorter, squashed.preprocess) == ("squash", None, "-1..1")
    with pytest.raises(WeightsError, match="none that timm knows of"):
        names.spec("timm:botnet50ts_256")
    with pytest.raises(WeightsError, match="pictures scaled with mean"):
        names.spec("timm:vit_large_patch16_dinov3_qkvb.sat493m")


def test_kerass_list_is_whole() -> None:
    applications = pytest.importorskip("keras.applications")
    assert set(keras_applications()) == {name for name in dir(applications) if name[0].isupper()}


def test_the_labels_are_imagenets() -> None:
    labels = imagenet_labels()
    assert len(labels) == len({label.lower() for label in labels}) == 1000
    assert {number: labels[number] for number in (0, 281, 291, 293, 436, 954)} == {
        0: "tench",
        281: "tabby",
        291: "lion",
        293: "cheetah",
        436: "beach wagon",
        954: "banana",
    }
    assert [label for label in labels if not label.isascii() or label != label.strip() or not label] == []


def test_the_labels_are_in_timms_order() -> None:
    data = pytest.importorskip("timm.data")
    known = data.ImageNetInfo()
    other = [
        (label, known.index_to_description(number))
        for number, label in enumerate(imagenet_labels())
        if label not in known.index_to_description(number)
    ]
    assert other == [("crane bird", "crane"), ("construction crane", "crane")]
