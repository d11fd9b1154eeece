"""Answers as HTML. Whatever labels and file names hold, they stand there literally: all text goes through `text`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whatsit.apps import presenter
from whatsit.apps.served import Served
from whatsit.evaluation.report import percent
from whatsit.runtime.prediction import Prediction

WAITING = "<p class='quiet'>Drop a picture, paste or take one, or click an example: the answer appears here.</p>"


def text(words: str) -> str:
    """Escaped, and without line breaks between a number and its unit."""
    return escape(sendable(words)).replace(" %", "\u00a0%")


def sendable(words: str) -> str:
    """File names that are not valid UTF-8 reach Python as lone surrogates, which cannot be sent."""
    return words.encode("utf-8", "replace").decode("utf-8")


def answers(models: Sequence[Served], predictions: Sequence[Prediction], name: str, top: int, teachable: bool) -> str:
    """What each model says about the same picture. `teachable`: whether it may get its right label."""
    titled = len(models) > 1
    cards = "".join(
        f"<section class='card'>{f'<h2>{text(served.name)}</h2>' if titled else ''}{_card(served, said, top)}</section>"
        for served, said in zip(models, predictions, strict=True)
    )
    name = f"<p class='quiet name'>{text(name)}</p>"
    return f"<div class='cards{' teachable' if teachable else ''}'>{cards}</div>{name}"


def message(words: str, kind: str = "") -> str:
    return f"<p class='message {kind}'>{text(words)}</p>"


def heading(models: Sequence[Served]) -> str:
    title = "<h1>What is in the picture?</h1>"
    if len(models) == 1:
        return f"{title}<p>{text(presenter.summary(models[0].model.manifest))}</p>"
    rows = "".join(f"<p><b>{text(m.name)}.</b> {text(presenter.summary(m.model.manifest))}</p>" for m in models)
    return title + rows


def _card(served: Served, prediction: Prediction, top: int) -> str:
    if prediction.error is not None:
        return _headline("error", prediction)
    kind = "unsure" if prediction.unsure else "sure"
    why = presenter.why_unsure(served.model.manifest) if prediction.unsure else ""
    why = f"<p>{text(why)}</p>" if why else ""
    seconds = f"<p class='quiet'>{text(presenter.duration(prediction.seconds))}</p>"
    return _headline(kind, prediction) + why + _bars(prediction, top) + seconds


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
    return f"<table class='bars'>{rows}</table>"
