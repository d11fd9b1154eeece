"""Answers as HTML. Whatever labels and file names hold, they stand there literally: all text goes through `text`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whatsit.apps import presenter
from whatsit.apps.served import Served
from whatsit.apps.text import sendable
from whatsit.evaluation.report import percent
from whatsit.runtime.prediction import Prediction

WAITING = "<p class='quiet'>Drop a picture, paste or take one, or click an example: the answer appears here.</p>"


def text(words: str) -> str:
    """Escaped, and without line breaks between a number and its unit."""
    return escape(sendable(words)).replace(" %", "\u00a0%")


def answers(models: Sequence[Served], predictions: Sequence[Prediction], name: str, top: int, teachable: bool) -> str:
    """What each model says about the same picture. `teachable`: whether it may get its right label."""
    cards = [_card(served, said, top) for served, said in zip(models, predictions, strict=True)]
    seconds = [presenter.duration(prediction.seconds) for prediction in predictions]
    if len(models) == 1:
        inner = f"<section class='card'>{cards[0]}</section>"
        caption = f"{name}, {seconds[0]}"
    else:
        inner = "".join(
            f"<section class='card'><h2>{text(served.name)}</h2>{card}<p class='quiet'>{text(took)}</p></section>"
            for served, card, took in zip(models, cards, seconds, strict=True)
        )
        caption = name
    css = "cards teachable" if teachable else "cards"
    return f"<div class='{css}'>{inner}</div><p class='quiet name'>{text(caption)}</p>"


def message(words: str, kind: str = "") -> str:
    return f"<p class='message {kind}'>{text(words)}</p>"


def heading(models: Sequence[Served]) -> str:
    if len(models) == 1:
        words = presenter.summary(models[0].model.manifest)
    else:
        names = presenter.listed([served.name for served in models], len(models))
        words = f"{len(models)} models answer side by side: {names}. The last tab tells what each of them knows."
    return f"<h1>What is in the picture?</h1><p>{text(words)}</p>"


def _card(served: Served, prediction: Prediction, top: int) -> str:
    if prediction.error is not None:
        return _headline("error", prediction)
    kind = "unsure" if prediction.unsure else "sure"
    why = presenter.why_unsure(served.model.manifest) if prediction.unsure else ""
    why = f"<p>{text(why)}</p>" if why else ""
    return _headline(kind, prediction) + why + _bars(prediction, top)


def _headline(kind: str, prediction: Prediction) -> str:
    words = presenter.headline(prediction)
    if kind == "sure":  # the score stands back, so that it does not run into a label that ends in a number
        score = percent(prediction.score or 0.0)
        inner = f"{text(words.removesuffix(score))}<span>{text(score)}</span>"
    else:
        inner = text(words[:1].upper() + words[1:])
    return f"<p class='headline {kind}'>{inner}</p>"


def _bars(prediction: Prediction, top: int) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{text(label)}</th>"
        f"<td><div style='width:{score:.2%}'></div></td><td>{text(percent(score))}</td></tr>"
        for label, score in presenter.bars(prediction, top)
    )
    return f"<table class='grid bars'>{rows}</table>"
