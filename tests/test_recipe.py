"""What the program chooses, and that a recipe survives being written down."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from whatsit.augmentation import Augmentation
from whatsit.errors import OptionError, WeightsError
from whatsit.preprocess import Preprocess
from whatsit.recipe import Facts, Recipe, choose, for_pretrained, with_epochs
from whatsit.weights import WeightsFile
from whatsit.wishes import Wishes, check_positive, network_arguments, seconds

SQUARE = Facts(n_train=1000, imbalance=1.0, height=32, width=32, grey=False)
PHOTOS = replace(SQUARE, height=480, width=640)
WEIGHTS = WeightsFile(
    Path("w.safetensors"),
    "ab" * 32,
    name="mobilenet_v2",
    framework="torch",
    network="mobilenetv2_100",
    arguments={"pad_type": "same"},
    input_size=(224, 224),
    preprocess="-1..1",
    interpolation="bicubic",
    licence="MIT",
)


def chosen(wishes: Wishes | None = None, facts: Facts = SQUARE, weights: WeightsFile | None = None) -> Recipe:
    return choose(wishes or Wishes(), facts, weights, "cpu")[0]


def test_every_choice_for_the_user_comes_with_a_reason() -> None:
    _, decisions = choose(Wishes(), replace(PHOTOS, imbalance=4.0, grey=True), None, "cpu")
    said = " ".join(decision.what for decision in decisions)
    for choice in ("model", "image size", "epochs", "mirrored", "square", "rarer classes"):
        assert choice in said
    assert all(decision.why for decision in decisions)


@pytest.mark.parametrize(("imbalance", "weighted"), [(1.0, False), (1.49, False), (1.5, True), (9.0, True)])
def test_rarer_classes_weigh_more_where_it_matters(imbalance: float, weighted: bool) -> None:
    assert choose(Wishes(), replace(SQUARE, imbalance=imbalance), None, "cpu")[0].class_weights is weighted


def test_what_the_user_asks_for_is_done_and_not_decided() -> None:
    wishes = Wishes(
        model="resnet18", image_size=128, epochs=7, batch_size=9, learning_rate=0.01, optimizer="sgd", fit="crop",
        mirror=False, preprocess="imagenet", seed=5, budget=60.0,
    )  # fmt: skip
    recipe, decisions = choose(wishes, PHOTOS, None, "cpu")
    assert (recipe.model, recipe.preprocess.size, recipe.epochs, recipe.batch_size) == ("resnet18", (128, 128), 7, 9)
    assert (recipe.learning_rate, recipe.optimizer, recipe.preprocess.fit) == (0.01, "sgd", "crop")
    assert (recipe.augmentation.mirror, recipe.scaling, recipe.seed, recipe.budget) == (False, "imagenet", 5, 60.0)
    assert decisions == []


@pytest.mark.parametrize(("height", "width", "fit"), [(480, 640, "squash"), (300, 900, "pad"), (32, 32, "squash")])
def test_the_whole_object_stays_in_view(height: int, width: int, fit: str) -> None:
    assert chosen(facts=replace(SQUARE, height=height, width=width)).preprocess.fit == fit


def test_grey_pictures_are_not_mirrored_and_colour_pictures_are() -> None:
    assert chosen().augmentation.mirror
    assert not chosen(facts=replace(SQUARE, grey=True)).augmentation.mirror


def test_a_weights_description_need_not_be_repeated() -> None:
    recipe = chosen(facts=PHOTOS, weights=WEIGHTS)
    assert recipe.model == "mobilenetv2_100"
    assert recipe.network_args == {"pad_type": "same"}
    assert recipe.scaling == "-1..1"
    assert recipe.preprocess.size == (224, 224)
    assert recipe.frozen_statistics
    assert recipe.backbone_rate < 1


def test_a_pretrained_network_stays_as_it_is_unless_more_is_asked_for() -> None:
    recipe, decisions = choose(Wishes(), PHOTOS, WEIGHTS, "cpu")
    assert (recipe.method, recipe.finetune, recipe.epochs) == ("transfer", "no", 0)
    assert any("stays as it is" in decision.what for decision in decisions)
    assert chosen(Wishes(finetune="last"), PHOTOS, WEIGHTS).finetune == "last"
    assert chosen(Wishes(epochs=3), PHOTOS, WEIGHTS).finetune == "all"
    assert chosen(Wishes(budget=60.0), PHOTOS, WEIGHTS).finetune == "all"
    assert chosen(Wishes(finetune="last"), PHOTOS, WEIGHTS).epochs > 0


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(learning_rate=0.01),
        Wishes(learning_rate="auto"),
        Wishes(optimizer="sgd"),
        Wishes(mixup=0.2),
        Wishes(ema=0.9),
        Wishes(augment="strong"),
        Wishes(batch_size=8),
    ],
)
def test_an_option_of_fine_tuning_is_never_ignored(wishes: Wishes) -> None:
    recipe, decisions = choose(wishes, PHOTOS, WEIGHTS, "cpu")
    assert recipe.finetune == "all"
    assert any("is for that" in decision.why for decision in decisions)
    with pytest.raises(OptionError, match="--finetune no"):
        chosen(replace(wishes, finetune="no"), PHOTOS, WEIGHTS)


def test_the_tutorial_takes_what_is_given_besides() -> None:
    wishes = Wishes(recipe="tutorial_vgg16", mixup=0.2, ema=0.9, augment="strong", model="vgg11", preprocess="0..1")
    recipe = chosen(replace(wishes, learning_rate="auto", mirror=True), PHOTOS)
    assert (recipe.mixup, recipe.ema, recipe.augment, recipe.find_rate) == (0.2, 0.9, "strong", True)
    assert recipe.augmentation.mirror
    assert recipe.augmentation.zoom > 0
    assert (recipe.model, recipe.scaling) == ("vgg11", "0..1")


def test_the_small_network_takes_no_arguments() -> None:
    with pytest.raises(OptionError, match="--network-arg"):
        chosen(Wishes(model="small", network_args={"a": 1}))


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(recipe="nonsense"),  # type: ignore[arg-type]
        Wishes(framework="tensorflow"),  # type: ignore[arg-type]
        Wishes(optimizer="lion"),  # type: ignore[arg-type]
        Wishes(augment="heavy"),  # type: ignore[arg-type]
        Wishes(ema=1),
        Wishes(mixup=-1),
    ],
)
def test_words_and_numbers_from_python_are_checked_too(wishes: Wishes) -> None:
    with pytest.raises(OptionError):
        check_positive(wishes)


def test_earlier_layers_learn_more_slowly() -> None:
    recipe = chosen(Wishes(finetune="all"), PHOTOS, WEIGHTS)
    assert recipe.backbone_rate < 1
    assert recipe.layer_decay < 1


def test_only_a_pretrained_network_is_fine_tuned() -> None:
    with pytest.raises(OptionError, match="--model mobilenet_v2"):
        chosen(Wishes(finetune="all"))


def test_weights_for_another_framework_than_asked_are_refused() -> None:
    with pytest.raises(WeightsError, match="--framework torch"):
        chosen(Wishes(framework="keras"), PHOTOS, WEIGHTS)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenetv2_100", "timm:mobilenetv2_100"])
def test_a_network_goes_by_its_catalogue_name_and_the_frameworks(name: str) -> None:
    assert chosen(Wishes(model=name), PHOTOS, WEIGHTS).model == "mobilenetv2_100"


@pytest.mark.parametrize(
    ("facts", "scratch"), [(replace(SQUARE, height=64, width=48), True), (replace(SQUARE, height=65), False)]
)
def test_small_pictures_are_learned_from_scratch_and_others_by_transfer(facts: Facts, scratch: bool) -> None:
    assert facts.tiny is scratch


def test_the_vgg16_tutorial_is_followed_to_the_letter() -> None:
    recipe = chosen(Wishes(recipe="tutorial_vgg16"), PHOTOS)
    assert (recipe.model, recipe.last_layers, recipe.finetune, recipe.method) == ("vgg16", "tutorial", "3", "whole")
    assert (recipe.optimizer, recipe.learning_rate, recipe.schedule) == ("rmsprop", 1e-4, "constant")
    assert (recipe.epochs, recipe.batch_size, recipe.preprocess.size, recipe.dropout) == (5, 32, (224, 224), 0.5)
    assert recipe.augmentation == Augmentation(False, 0, 0, 0, 0)
    assert (recipe.mixup, recipe.ema, recipe.label_smoothing, recipe.class_weights) == (0, 0, 0, False)
    assert chosen(Wishes(recipe="tutorial_vgg16", framework="keras"), PHOTOS).model == "VGG16"
    assert chosen(Wishes(recipe="tutorial_vgg16", framework="keras"), PHOTOS).scaling == "caffe"


def test_a_network_used_as_it_came_keeps_its_published_geometry() -> None:
    published = replace(WEIGHTS, fit="crop", resize_shorter=256)
    recipe = for_pretrained(published)
    assert recipe.preprocess == Preprocess("crop", (224, 224), "bicubic", 256)
    assert recipe.scaling == "-1..1"


@pytest.mark.parametrize("field", ["network", "preprocess", "input_size"])
def test_what_a_description_leaves_out_is_named(field: str) -> None:
    with pytest.raises(WeightsError, match=field.replace("_", " ")):
        for_pretrained(replace(WEIGHTS, **{field: None}))


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(finetune="some"),
        Wishes(finetune="0"),
        Wishes(finetune="-1"),
        Wishes(mixup=-0.1),
        Wishes(ema=1.0),
        Wishes(ema=-0.5),
        Wishes(learning_rate=0.0),
    ],
)
def test_impossible_fine_tuning_is_refused_early(wishes: Wishes) -> None:
    with pytest.raises(OptionError):
        check_positive(wishes)


def test_stronger_augmentation_varies_more() -> None:
    zooms = [chosen(Wishes(augment=how)).augmentation.zoom for how in ("none", "light", "medium", "strong")]  # type: ignore[arg-type]
    assert zooms == sorted(zooms)
    assert zooms[0] == 0
    assert not chosen(Wishes(augment="none")).augmentation.mirror


def test_the_user_overrides_the_description() -> None:
    recipe = chosen(Wishes(preprocess="imagenet", network_args={"pad_type": ""}), PHOTOS, WEIGHTS)
    assert recipe.scaling == "imagenet"
    assert recipe.network_args == {"pad_type": ""}


def test_weights_for_another_network_than_asked_are_refused() -> None:
    with pytest.raises(WeightsError, match="--model mobilenetv2_100"):
        chosen(Wishes(model="resnet18"), PHOTOS, WEIGHTS)


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [(Wishes(model="resnet18"), "--preprocess"), (Wishes(preprocess="imagenet"), "--model")],
)
def test_what_bare_weights_do_not_say_is_asked_for_by_name(wishes: Wishes, complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        chosen(wishes, PHOTOS, WeightsFile(Path("w.pth"), "ab"))


def test_an_unknown_scaling_gets_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"-1\.\.1"):
        chosen(Wishes(preprocess="-1...1"))


# ---- small pictures from scratch, and the CIFAR-10 tutorial


def test_small_pictures_get_the_fast_recipe_unless_something_it_cannot_do_is_asked_for() -> None:
    assert (chosen().name, chosen().model, chosen().optimizer) == ("fast", "compact", "muon")
    for wishes in (
        Wishes(optimizer="sgd"),
        Wishes(learning_rate=0.1),
        Wishes(augment="none"),
        Wishes(mixup=0.2),
        Wishes(ema=0.9),
        Wishes(framework="keras"),
        Wishes(preprocess="0..1"),
        Wishes(model="small"),
    ):
        assert (chosen(wishes).name, chosen(wishes).model) == ("default", "small")
        if wishes.model is None:
            with pytest.raises(OptionError, match="--recipe fast"):
                chosen(replace(wishes, recipe="fast"))


def test_photos_get_the_fast_recipe_only_when_asked_and_are_shrunk() -> None:
    assert chosen(facts=PHOTOS).name == "default"
    assert chosen(Wishes(recipe="fast"), PHOTOS).preprocess.size == (64, 64)
    assert chosen(Wishes(recipe="fast", image_size=48), PHOTOS).preprocess.size == (48, 48)


@pytest.mark.parametrize(("target", "epochs"), [(0.8, 1), (0.85, 1), (0.9, 4), (0.93, 12), (0.99, 12)])
def test_a_target_chooses_the_length_of_the_schedule(target: float, epochs: int) -> None:
    facts = replace(SQUARE, n_train=48_000)
    recipe, decisions = choose(Wishes(target=target), facts, None, "cpu")
    assert (recipe.epochs, recipe.target) == (epochs, target)
    why = next(decision.why for decision in decisions if "epochs" in decision.what)
    assert ("longest" in why) is (target == 0.99)


@pytest.mark.parametrize(
    ("wishes", "pictures", "deep"),
    [
        (Wishes(), 48_000, True),
        (Wishes(epochs=8), 48_000, True),
        (Wishes(epochs=7), 48_000, False),
        (Wishes(target=0.9), 48_000, False),
        (Wishes(budget=60.0), 48_000, False),
        (Wishes(budget=899.0, target=0.94), 48_000, False),
        (Wishes(budget=900.0), 48_000, True),
        (Wishes(epochs=100), 9_999, False),
        (Wishes(epochs=30), 12_800, True),
        (Wishes(epochs=29), 12_800, False),
    ],
)
def test_a_long_schedule_gets_a_deeper_network_and_wider_shifts(wishes: Wishes, pictures: int, deep: bool) -> None:
    recipe, decisions = choose(wishes, replace(SQUARE, n_train=pictures), None, "cpu")
    assert recipe.network_args["depth"] == (3 if deep else 2)
    if pictures >= 10_000:  # smaller sets are turned and zoomed too
        assert recipe.augmentation.crop == (4 if deep else 2)
    assert any("third convolution" in decision.what for decision in decisions) is deep


def test_a_depth_that_was_asked_for_is_neither_changed_nor_explained() -> None:
    recipe, decisions = choose(Wishes(network_args={"depth": 2}), replace(SQUARE, n_train=48_000), None, "cpu")
    assert (recipe.network_args["depth"], recipe.augmentation.crop) == (2, 4)
    assert any("wider shifts" in decision.what for decision in decisions)
    assert not any("third convolution" in decision.what for decision in decisions)


def test_accurate_is_always_deep_and_does_not_call_that_a_choice() -> None:
    recipe, decisions = choose(Wishes(recipe="accurate", epochs=1), replace(SQUARE, n_train=48_000), None, "cpu")
    longer = choose(Wishes(recipe="accurate"), replace(SQUARE, n_train=48_000), None, "cpu")
    assert (recipe.network_args, recipe.augmentation) == (longer[0].network_args, longer[0].augmentation)
    assert not any("wider shifts" in decision.what for decision in [*decisions, *longer[1]])


def test_a_budget_leaves_the_length_to_the_clock_but_for_a_target() -> None:
    large = replace(SQUARE, n_train=48_000)
    assert chosen(Wishes(budget=90.0), large).epochs == 30  # the most that could pay; those that fit will be trained
    assert chosen(Wishes(budget=3600.0, target=0.85), large).epochs == 1
    accurate = Wishes(recipe="accurate")
    assert chosen(replace(accurate, budget=36_000.0), large).epochs >= chosen(accurate, large).epochs > 30


@pytest.mark.parametrize("name", ["fast", "accurate", "tutorial"])
def test_a_schedule_from_scratch_is_gone_through_to_its_end(name: Any) -> None:
    assert chosen(Wishes(recipe=name, epochs=40)).patience == 40
    assert with_epochs(chosen(Wishes(recipe=name, budget=9.0)), 50).patience == 50


def test_the_compact_network_comes_with_its_recipe_for_larger_pictures_too() -> None:
    recipe = chosen(Wishes(model="compact"), PHOTOS)
    assert (recipe.name, recipe.preprocess.size) == ("fast", (64, 64))
    other = chosen(Wishes(model="compact", optimizer="sgd"), PHOTOS)
    assert (other.name, other.model, other.dropout, other.preprocess.size) == ("default", "compact", 0.0, (96, 96))


def test_what_keeps_the_fast_recipe_away_is_named() -> None:
    _, decisions = choose(Wishes(learning_rate=0.1), SQUARE, None, "cpu")
    assert any("--lr is not for that" in decision.why for decision in decisions)


def test_a_small_set_is_varied_and_its_recipe_says_so() -> None:
    small, large = chosen(), chosen(facts=replace(SQUARE, n_train=48_000))
    assert (small.augment, small.augmentation.rotate > 0, small.network_args["widths"]) == (
        "medium",
        True,
        [32, 64, 128],
    )
    assert (large.augment, large.augmentation.rotate, large.network_args["widths"]) == ("own", 0, [64, 256, 256])


def test_a_recipe_of_an_earlier_version_is_not_filled_up() -> None:
    data = chosen().to_dict()
    del data["views"]
    with pytest.raises(KeyError, match="views"):
        Recipe.from_dict(data)


@pytest.mark.parametrize("size", [0.0, 1.0, 94.0, -0.5])
def test_a_target_is_an_accuracy(size: float) -> None:
    with pytest.raises(OptionError, match=r"0\.94"):
        check_positive(Wishes(target=size))


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_is_a_number_that_every_generator_takes(seed: int) -> None:
    with pytest.raises(OptionError, match="0 to 2147483647"):
        check_positive(Wishes(seed=seed))


def test_what_is_off_in_a_recipe_may_be_asked_to_be_off() -> None:
    found = chosen(Wishes(mixup=0.0, ema=0.0))
    assert (found.name, found.mixup, found.ema) == ("fast", 0.0, 0.0)
    assert chosen(Wishes(mixup=0.2)).name == "default"


def test_a_length_that_a_budget_leaves_takes_the_batches_that_suit_it() -> None:
    large = replace(SQUARE, n_train=48_000)
    planned = chosen(Wishes(budget=60.0), large)
    assert (planned.batch_size, planned.short_batch_size) == (1_000, 500)
    assert [with_epochs(planned, epochs).batch_size for epochs in (1, 2, 3)] == [500, 500, 1_000]
    for asked in (64, 1_000):
        assert with_epochs(chosen(Wishes(budget=60.0, batch_size=asked), large), 1).batch_size == asked
    assert with_epochs(chosen(Wishes(recipe="tutorial", batch_size=1_000), large), 1).batch_size == 1_000


@pytest.mark.parametrize("share", [0.0, 1.0, 99.0, -0.5])
def test_a_promise_is_a_share(share: float) -> None:
    with pytest.raises(OptionError, match=r"promise.*0\.99"):
        check_positive(Wishes(promise=share))


@pytest.mark.parametrize("recipe", [None, "fast", "accurate", "tutorial", "tutorial_vgg16"])
def test_every_recipe_keeps_what_it_has_no_say_in(recipe: Any) -> None:
    wishes = Wishes(recipe=recipe, random_weights=recipe == "tutorial_vgg16", promise=0.9, golden="none", seed=7)
    found = chosen(replace(wishes, budget=60.0, target=0.8))
    assert (found.promise, found.golden, found.seed, found.budget, found.target) == (0.9, "none", 7, 60.0, 0.8)
    usual = chosen(Wishes(recipe=recipe, random_weights=recipe == "tutorial_vgg16"))
    assert (usual.promise, usual.golden, usual.seed, usual.budget, usual.target) == (0.95, "test", 0, None, None)


def test_what_cannot_be_mirrored_is_not_looked_at_mirrored() -> None:
    grey = replace(SQUARE, grey=True)
    assert (chosen().views, chosen(facts=grey).views, chosen(Wishes(mirror=False)).views) == (6, 1, 1)


def test_coarse_pictures_come_first_where_there_is_something_to_leave_out() -> None:
    sizes = {side: chosen(facts=replace(SQUARE, height=side, width=side)).start_size for side in (8, 24, 32, 64)}
    assert sizes == {8: 0, 24: 0, 32: 24, 64: 48}
    assert (chosen().start_share, chosen(Wishes(recipe="accurate")).start_share) == (0.5, 0.6)


def test_margins_grow_with_the_picture() -> None:
    large = replace(SQUARE, n_train=48_000)
    short = Wishes(epochs=1)
    assert chosen(short, large).augmentation == Augmentation(True, 0, 0, 0, 0, crop=2, alternate=True)
    assert chosen(short, replace(large, height=64, width=64)).augmentation.crop == 4
    accurate = chosen(Wishes(recipe="accurate"), large)
    assert (accurate.augmentation.crop, accurate.augmentation.cutout, accurate.views) == (4, 12, 6)


def test_pictures_of_many_sizes_are_brought_to_one_and_it_is_said() -> None:
    _, decisions = choose(Wishes(), replace(SQUARE, smallest=20, largest=300), None, "cpu")
    assert any("20 to 300 pixels" in decision.why for decision in decisions)


def test_widths_that_were_asked_for_are_neither_changed_nor_explained() -> None:
    recipe, decisions = choose(Wishes(network_args={"widths": [8, 9, 10]}), replace(SQUARE, n_train=500), None, "cpu")
    assert recipe.network_args == {"widths": [8, 9, 10], "depth": 2}
    assert not any("widths" in decision.what for decision in decisions)
    assert chosen(Wishes(network_args={"depth": 3}), replace(SQUARE, n_train=500)).network_args == {
        "widths": [32, 64, 128],
        "depth": 3,
    }


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_the_cifar10_tutorial_is_followed_to_the_letter(framework: Any) -> None:
    recipe = chosen(Wishes(recipe="tutorial", framework=framework), replace(SQUARE, n_train=48_000))
    assert (recipe.model, recipe.last_layers, recipe.dropout) == ("tutorial_cnn", "tutorial", 0.5)
    assert (recipe.optimizer, recipe.learning_rate, recipe.schedule) == ("adam", 1e-3, "constant")
    assert (recipe.epochs, recipe.batch_size, recipe.scaling) == (30, 64, "0..1")
    assert (recipe.label_smoothing, recipe.ema, recipe.weight_decay, recipe.mixup) == (0, 0, 0, 0)
    assert recipe.augmentation == Augmentation(False, 0, 0, 0, 0)
    assert recipe.patience >= 30
    assert (recipe.framework, recipe.preprocess.size) == (framework, (32, 32))


@pytest.mark.parametrize(
    "wishes",
    [Wishes(model="resnet18"), Wishes(weights=Path("w.pth")), Wishes(finetune="all"), Wishes(preprocess="-1..1")],
)
def test_the_cifar10_tutorial_trains_its_own_network_only(wishes: Wishes) -> None:
    with pytest.raises(OptionError, match="--recipe tutorial"):
        chosen(replace(wishes, recipe="tutorial"))


def test_the_tutorials_network_can_be_trained_otherwise() -> None:
    recipe = chosen(Wishes(model="tutorial_cnn"))
    assert (recipe.name, recipe.last_layers, recipe.dropout) == ("default", "tutorial", 0.5)


def test_a_recipe_survives_toml() -> None:
    for recipe in (
        chosen(Wishes(target=0.9)),
        chosen(Wishes(recipe="tutorial")),
        chosen(),
        chosen(facts=PHOTOS, weights=WEIGHTS),
        chosen(Wishes(model="vgg11", budget=5.0, network_args={"a": 1})),
    ):
        assert Recipe.from_dict(tomllib.loads(tomli_w.dumps(recipe.to_dict()))) == recipe


def test_larger_sets_get_fewer_epochs_and_larger_batches() -> None:
    for wishes in (Wishes(), Wishes(model="small")):
        small, large = (chosen(wishes, replace(SQUARE, n_train=n)) for n in (50, 50_000))
        assert small.epochs > large.epochs
        assert small.batch_size < large.batch_size


def test_patience_follows_the_epochs() -> None:
    assert with_epochs(chosen(Wishes(model="small")), 60).patience == 30
    assert with_epochs(chosen(Wishes(model="small")), 3).patience == 5


@pytest.mark.parametrize(
    ("pairs", "arguments"),
    [
        (("pad_type=same",), {"pad_type": "same"}),
        (("drop_rate=0.1", "depth=3", "flag=true"), {"drop_rate": 0.1, "depth": 3, "flag": True}),
        (("name=a=b",), {"name": "a=b"}),
        ((), {}),
    ],
)
def test_network_arguments_become_values(pairs: tuple[str, ...], arguments: dict[str, Any]) -> None:
    assert network_arguments(pairs) == arguments


@pytest.mark.parametrize("pair", ["pad_type", "=same", "two words=1"])
def test_a_network_argument_without_a_name_is_refused(pair: str) -> None:
    with pytest.raises(OptionError, match="NAME=VALUE"):
        network_arguments((pair,))


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("30", 30), ("0.5", 0.5)])
def test_times_are_read(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "5x", "-3s", "0", "nan", "inf", "five"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="90s, 5m"):
        seconds(text)


@pytest.mark.parametrize(
    "wishes", [Wishes(epochs=0), Wishes(batch_size=1), Wishes(image_size=4), Wishes(learning_rate=0.0)]
)
def test_numbers_no_run_can_use_are_refused(wishes: Wishes) -> None:
    with pytest.raises(OptionError):
        check_positive(wishes)
