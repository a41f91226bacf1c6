"""Charts as inline SVG. They carry no script, style or address: the page's style sheet colours them, light or dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import pygal
from pygal.style import Style

SVG = "http://www.w3.org/2000/svg"
_DROPPED_TAGS = ("script", "style", "desc", "title", "defs")
_DROPPED_CLASSES = ("tooltip-overlay", "plot overlay")

Values = Sequence[float | None]


def stacked(labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str) -> str:
    """Horizontal bars, each the sum of its parts; a part that is 0 has no number written on it."""
    height = 90 + 46 * len(labels)
    chart = _chart(pygal.HorizontalStackedBar, height, _count, labels=labels, legend_columns=3)
    # The first label stands at the bottom of a horizontal chart: turned round, it reads from the top.
    chart.x_labels = list(reversed(labels))
    for title, values in series:
        chart.add(title, list(reversed(values)))
    return _svg(chart, name)


def bars(labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str, *, top: float) -> str:
    """Bars beside each other, between 0 and `top`; None leaves a gap."""
    chart = _chart(pygal.Bar, 320, _count, range=(0, top), rounded_bars=3, legend_columns=3)
    chart.x_labels = list(labels)
    for title, values in series:
        chart.add(title, list(values))
    return _svg(chart, name)


def single(labels: Sequence[str], title: str, values: Values, name: str) -> str:
    """One horizontal bar for each label."""
    chart = _chart(
        pygal.HorizontalBar, 60 + 40 * len(labels), _count, labels=labels, show_legend=False, rounded_bars=3
    )
    chart.x_labels = list(reversed(labels))
    chart.add(title, list(reversed(values)))
    return _svg(chart, name)


def lines(
    labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str, *, span: tuple[float, float]
) -> str:
    """Lines over time; None leaves a gap."""
    chart = _chart(pygal.Line, 320, _count, range=span, dots_size=4, legend_columns=3)
    chart.x_labels = list(labels)
    for title, values in series:
        chart.add(title, list(values), allow_interruptions=True)
    return _svg(chart, name)


def _chart(
    kind: Callable[..., Any],
    height: int,
    formatter: Callable[[float | None], str],
    *,
    legend_columns: int = 4,
    labels: Sequence[str] = (),
    **options: Any,
) -> Any:
    return kind(
        style=Style(value_colors=("black",) * 8, label_font_size=13, legend_font_size=13, value_font_size=13),
        js=(),
        disable_xml_declaration=True,
        width=720,
        height=height,
        margin=12,
        margin_left=_room(labels) if labels else 12,
        legend_at_bottom=True,
        legend_at_bottom_columns=legend_columns,
        print_values=True,
        print_zeroes=False,
        truncate_label=-1,
        truncate_legend=-1,
        show_y_guides=True,
        formatter=formatter,
        **options,
    )


def _room(labels: Sequence[str]) -> int:
    """The library reckons with Latin letters: Chinese ones are nearly twice as wide."""
    return 12 + max(sum(6 if letter.isascii() else 9 for letter in label) for label in labels)


def _count(value: float | None) -> str:
    """A number as it is read: no needless decimals, nothing where there is nothing."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"


def _svg(chart: Any, name: str) -> str:
    """The drawing alone, with its name for those who hear the page instead of seeing it."""
    root = ElementTree.fromstring(str(chart.render(is_unicode=True)))
    _strip(root)
    for attribute in ("id",):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", name)
    ElementTree.register_namespace("", SVG)
    return re.sub(r"\s+(?=/?>)", "", ElementTree.tostring(root, encoding="unicode"))


def _strip(node: ElementTree.Element) -> None:
    for child in list(node):
        tag = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else "comment"
        if tag in (*_DROPPED_TAGS, "comment") or _is_overlay(child):
            node.remove(child)
        else:
            child.attrib.pop("id", None)
            _strip(child)


def _is_overlay(node: ElementTree.Element) -> bool:
    names = node.get("class", "")
    return any(name in names for name in _DROPPED_CLASSES) and "text-overlay" not in names
