"""The tab that tells what each model knows, how well it was measured to do, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from whatsit.apps import presenter
from whatsit.apps.served import Served
from whatsit.apps.web.answer import text
from whatsit.evaluation.report import percent
from whatsit.modelfile import Manifest

_MOST_IN_MATRIX = 12  # classes; with more the most frequent mistakes are listed
_MOST_CONFUSED, _MOST_CLASSES = 10, 30


def about(models: Sequence[Served]) -> str:
    return "".join(_model(served, titled=len(models) > 1) for served in models)


def _model(served: Served, titled: bool) -> str:
    manifest = served.model.manifest
    title = f"<h2>{text(served.name)}</h2>" if titled else ""
    return f"<section class='model'>{title}{_facts(manifest)}{_mistakes(manifest)}{_classes(manifest)}</section>"


def _facts(manifest: Manifest) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{text(name)}</th><td>{text(words)}</td></tr>" for name, words in presenter.about(manifest)
    )
    return f"<table class='grid facts'>{rows}</table>"


def _mistakes(manifest: Manifest) -> str:
    labels, counts = presenter.confusion(manifest)
    if not labels:
        return ""
    if len(labels) <= _MOST_IN_MATRIX:
        return _matrix(labels, counts)
    return _most_confused(manifest)


def _matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    head = "".join(f"<th scope='col'><span>{text(label)}</span></th>" for label in labels)
    rows = "".join(
        f"<tr><th scope='row'>{text(label)}</th>{''.join(_cells(row, i, labels))}</tr>"
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
    )
    return (
        "<h3>What it took for what</h3><p class='quiet'>Each row is what test pictures really show, each column what "
        "it answered. The diagonal is right.</p><div class='scroll'><table class='grid matrix'><thead><tr><td></td>"
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cells(row: Sequence[int], actual: int, labels: Sequence[str]) -> list[str]:
    """Each count on a ground as strong as its share of the row; the right ones in another colour."""
    total = max(1, sum(row))
    return [
        f"<td class='{'right' if i == actual else 'wrong' if count else ''}' style='--share:{count / total:.3f}' "
        f"title='{text(f'{labels[actual]} taken for {labels[i]}: {count:,}')}'>{count or ''}</td>"
        for i, count in enumerate(row)
    ]


def _most_confused(manifest: Manifest) -> str:
    pairs = presenter.most_confused(manifest, _MOST_CONFUSED)
    if not pairs:
        return ""
    rows = "".join(
        f"<tr><td>{text(actual)}</td><td>{text(answered)}</td><td>{count:,}</td></tr>"
        for actual, answered, count in pairs
    )
    return (
        "<h3>Its most frequent mistakes</h3><table class='grid plain'><thead><tr><th>It was</th><th>It said</th>"
        f"<th>Times</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _classes(manifest: Manifest) -> str:
    scores = presenter.class_scores(manifest)
    if not scores:
        return ""
    shown = scores[:_MOST_CLASSES]
    which = f", the {len(shown)} it finds worst of {len(scores):,}" if len(shown) < len(scores) else ""
    rows = "".join(
        f"<tr><th scope='row'>{text(label)}</th><td>{text(percent(recall))}</td><td>{text(percent(precision))}</td>"
        f"<td>{support:,}</td></tr>"
        for label, recall, precision, support in shown
    )
    return (
        f"<details><summary>Each class{which}</summary><table class='grid plain'><thead><tr><th>Class</th>"
        "<th>Found</th><th>Right when said</th><th>Pictures</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )
