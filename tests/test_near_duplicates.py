"""Near-duplicates: what is the same but for encoding, size or light is found, and look-alikes are not."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from whatsit.dataset import near_duplicates
from whatsit.dataset.near_duplicates import SIMILARITY, connected, copies, detail

LARGE = 100


def thumbnails(*pictures: Image.Image) -> NDArray[np.uint8]:
    return np.stack([np.asarray(p.convert("RGB").resize((16, 16), Image.Resampling.BOX)) for p in pictures])


def find(thumbs: NDArray[np.uint8], contents: list[str] | None = None, side: int = LARGE) -> list[tuple[int, int]]:
    sizes = np.full((len(thumbs), 2), side, np.int32)
    return copies(contents or [str(i) for i in range(len(thumbs))], thumbs, sizes)


def scene(seed: int) -> Image.Image:
    """A picture with coarse and fine structure, as photos have."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (4, 16, 40)]
    large = [np.asarray(Image.fromarray(x).resize((160, 160), Image.Resampling.BICUBIC), float) for x in layers]
    return Image.fromarray((0.4 * large[0] + 0.4 * large[1] + 0.2 * large[2]).astype(np.uint8))


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def random_thumbs(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "again",
    [
        lambda p: as_jpeg(p, 30),
        lambda p: p.resize((80, 80), Image.Resampling.LANCZOS),
        lambda p: p.resize((64, 64), Image.Resampling.BILINEAR),
        lambda p: ImageEnhance.Contrast(p).enhance(0.7),
        lambda p: ImageEnhance.Brightness(p).enhance(0.9),
    ],
    ids=["JPEG 30", "half size", "64 pixels", "contrast", "light"],
)
def test_the_same_picture_again_is_found(again) -> None:  # type: ignore[no-untyped-def]
    originals = [scene(seed) for seed in range(5)]
    found = find(thumbnails(*originals, *(again(p) for p in originals)))
    assert found == [(i, i + 5) for i in range(5)]


def test_real_photos_again_are_found_and_other_photos_are_not(shared: Path) -> None:
    files = sorted((shared / "data" / "clothing" / "test" / "shirt").iterdir())[:25]
    photos = [Image.open(file).convert("RGB") for file in files]
    smaller = [as_jpeg(p.resize((p.width // 2, p.height // 2)), 50) for p in photos]
    assert find(thumbnails(*photos, *smaller)) == [(i, i + 25) for i in range(25)]


def test_other_pictures_a_crop_and_a_mirror_image_are_not_copies() -> None:
    first = scene(1)
    crop, mirrored = first.crop((20, 20, 140, 140)), first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert find(thumbnails(first, scene(2), crop, mirrored)) == []


def test_pictures_without_detail_are_copies_only_by_content() -> None:
    white = [Image.new("RGB", (100, 100), (250 + i, 255, 255)) for i in range(3)]
    assert find(thumbnails(*white)) == []
    assert find(thumbnails(*white), ["a", "b", "a"]) == [(0, 2)]


def test_a_faint_pattern_is_no_detail() -> None:
    faint = (random_thumbs(1) % 2).repeat(2, axis=0) + np.array([100, 150], np.uint8).reshape(2, 1, 1, 1)
    assert find(faint) == []
    assert find(faint * np.uint8(1) + (faint % 2) * np.uint8(9)) == [(0, 1)]


def test_a_picture_between_two_others_ties_them_together() -> None:
    one, two = random_thumbs(2).astype(float)
    steps = [np.clip(one + share * (two - one), 0, 255).astype(np.uint8) for share in (0, 0.2, 0.1)]
    first, last, middle = detail(np.stack(steps))
    assert first @ last < SIMILARITY < min(first @ middle, middle @ last)
    assert find(np.stack(steps)) == [(0, 2), (1, 2)]


def test_pictures_smaller_than_the_thumbnail_are_copies_only_by_content() -> None:
    same = np.repeat(random_thumbs(1), 2, axis=0)
    assert find(same, side=15) == []
    assert find(same, side=16) == [(0, 1)]
    assert find(same, ["a", "a"], side=8) == [(0, 1)]


def test_detail_is_of_unit_length_and_blind_to_light() -> None:
    thumbs = random_thumbs(3) // 2
    vectors = detail(thumbs)
    assert vectors.shape == (3, 768)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(detail(thumbs + 100), vectors, atol=1e-5)


def test_pairs_tie_together_exactly_what_comparing_all_pairs_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whatsit.dataset.near_duplicates._BLOCK", 7)  # so that sets span blocks
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = random_thumbs(6, seed)[rng.integers(0, 6, 40)]
        thumbs = np.clip(base + rng.normal(0, 15, base.shape), 0, 255).astype(np.uint8)  # near the edge: chains
        contents = [str(c) for c in rng.integers(0, 60, 40)]
        vectors = detail(thumbs)
        alike = vectors @ vectors.T > SIMILARITY
        every = [(i, j) for i, j in combinations(range(40), 2) if alike[i, j] or contents[i] == contents[j]]
        assert len(every) > 0
        found = find(thumbs, contents)
        assert connected(40, found) == connected(40, every)
        assert set(found) <= set(every)
        assert len(found) == 40 - len(connected(40, every))


def every_pair_compared(thumbs: NDArray[np.uint8], contents: list[str], sizes: NDArray[np.int32]) -> list[list[int]]:
    """The sets, by the definition."""
    vectors = detail(thumbs) * (sizes.max(axis=1, keepdims=True) >= 16)
    alike = np.argwhere(np.triu(vectors @ vectors.T > SIMILARITY, 1))
    first = {content: i for i, content in reversed(list(enumerate(contents)))}
    return connected(len(thumbs), [*alike.tolist(), *((first[content], i) for i, content in enumerate(contents))])


def noisy(n: int, deviation: float, seed: int) -> NDArray[np.uint8]:
    """n pictures of 150 scenes, each with so much noise that some pairs lie just above the edge and some below."""
    rng = np.random.default_rng(seed)
    scenes = thumbnails(*(scene(number) for number in range(150)))[rng.integers(0, 150, n)]
    return np.clip(scenes + rng.normal(0, deviation, scenes.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("many", [0, 2048])
@pytest.mark.parametrize("kind", ["random", "structured", "flat", "few details", "mixed"])
def test_the_short_way_finds_what_comparing_every_pair_does(
    kind: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "_MANY", many)
    monkeypatch.setattr(near_duplicates, "_BLOCK", 250)
    rng = np.random.default_rng(3)
    made = {
        "random": random_thumbs(700),
        "structured": noisy(700, 6, 1),
        "flat": np.full((300, 16, 16, 3), 77, np.uint8),
        "few details": np.repeat(np.repeat(random_thumbs(500)[:, ::8, ::8], 8, axis=1), 8, axis=2) // 3 * 3 + 7,
    }
    made["mixed"] = np.concatenate([thumbs[:150] for thumbs in made.values()] + [noisy(200, 3, 2)])
    thumbs = made[kind]
    sizes = rng.integers(14, 40, (len(thumbs), 2)).astype(np.int32)
    contents = [str(number) for number in rng.integers(0, 5000, len(thumbs))]
    assert connected(len(thumbs), copies(contents, thumbs, sizes)) == every_pair_compared(thumbs, contents, sizes)


def test_short_vectors_never_seem_less_alike_than_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_MANY", 100)
    vectors = detail(np.concatenate([noisy(300, 6, 1), random_thumbs(100), random_thumbs(1) * 0]))
    short = near_duplicates._shortened(vectors)
    assert short.shape == (401, 32)
    assert (short @ short.T >= vectors @ vectors.T - 1e-5).all()
    assert (short[-1] == 0).all()


def test_each_of_many_copies_is_paired_with_the_first() -> None:
    thumbs = random_thumbs(4)[[0, 1, 0, 2, 0, 1, 3, 0]]
    assert find(thumbs) == [(0, 2), (0, 4), (0, 7), (1, 5)]


def test_thousands_of_copies_of_one_picture_stay_few_pairs() -> None:
    thumbs = np.repeat(random_thumbs(1), 3000, axis=0)  # 4.5 million pairs
    assert len(find(thumbs)) == 2999


def test_none_and_one() -> None:
    assert find(random_thumbs(0)) == []
    assert find(random_thumbs(1)) == []


def test_connected() -> None:
    assert connected(6, [(4, 1), (1, 5), (3, 0)]) == [[0, 3], [1, 4, 5], [2]]
    assert connected(0, []) == []
    assert connected(2, []) == [[0], [1]]
    assert connected(30_000, [(i, i + 1) for i in range(29_999)]) == [list(range(30_000))]
