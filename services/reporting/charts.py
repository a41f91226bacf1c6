"""Charts as inline SVG. They carry no script, style or address: the page's style sheet colours them, light or dark."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import pygal
from pygal.style import Style

SVG = "http://www.w3.org/2000/svg"
_DROPPED_TAGS = ("defs", "desc", "title")
"""Scripts and styles are the definitions; `desc` holds positions, and `title` the name of the library."""

Values = Sequence[float | None]


def stacked(
    labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str, *, width: int = 560
) -> str:
    """Horizontal bars, each the sum of its parts; a part that is 0 has no number written on it."""
    chart = _chart(pygal.HorizontalStackedBar, 40 + 44 * len(labels), labels=labels, width=width)
    # The first label stands at the bottom of a horizontal chart: turned round, it reads from the top.
    chart.x_labels = list(reversed(labels))
    chart.y_labels = _whole(max((sum(parts) for parts in zip(*_numbers(series), strict=True)), default=0))
    for title, values in series:
        chart.add(title, list(reversed(values)))
    return _svg(chart, name)


def bars(labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str, *, top: float) -> str:
    """Bars beside each other, between 0 and `top`; None leaves a gap."""
    chart = _chart(pygal.Bar, 270, range=(0, top), rounded_bars=2)
    chart.x_labels = list(labels)
    for title, values in series:
        chart.add(title, list(values))
    return _svg(chart, name)


def single(labels: Sequence[str], title: str, values: Values, name: str) -> str:
    """One horizontal bar for each label."""
    chart = _chart(pygal.HorizontalBar, 40 + 40 * len(labels), labels=labels, rounded_bars=2)
    chart.x_labels = list(reversed(labels))
    chart.y_labels = _whole(max(*_numbers([(title, values)])[0], 0))
    chart.add(title, list(reversed(values)))
    return _svg(chart, name)


def lines(
    labels: Sequence[str], series: Sequence[tuple[str, Values]], name: str, *, span: tuple[float, float]
) -> str:
    """Lines over time; None leaves a gap."""
    chart = _chart(pygal.Line, 270, range=span, dots_size=4, print_values=len(series) <= 2)
    chart.x_labels = list(labels)
    for title, values in series:
        chart.add(title, list(values), allow_interruptions=True)
    return _svg(chart, name)


def _chart(kind: Callable[..., Any], height: int, *, labels: Sequence[str] = (), **options: Any) -> Any:
    settings: dict[str, Any] = {
        # No style is written out; the sizes are what the library reckons its margins with.
        "style": Style(value_colors=("black",) * 8, label_font_size=13, value_font_size=12),
        "js": (),
        "disable_xml_declaration": True,
        "width": 560,
        "height": height,
        "margin": 8,
        "margin_right": 20,
        "margin_left": _room(labels) if labels else 8,
        "show_legend": False,  # the page has its own: the library's cuts off Chinese letters
        "print_values": True,
        "print_zeroes": False,
        "truncate_label": -1,
        "formatter": _count,
    }
    return kind(**(settings | options))


def _room(labels: Sequence[str]) -> int:
    """The library reckons with Latin letters: Chinese ones are nearly twice as wide."""
    return 8 + max(sum(1 if letter.isascii() else 6 for letter in label) for label in labels)


def _numbers(series: Sequence[tuple[str, Values]]) -> list[list[float]]:
    return [[value or 0 for value in values] for _, values in series]


def _whole(greatest: float) -> list[int]:
    """Up to ten marks of an axis that counts things: there are no halves of them."""
    step = max(math.ceil(greatest / 10), 1)
    return list(range(0, max(math.ceil(greatest), 1) + step, step))


def _count(value: float | None) -> str:
    """A number as it is read: no needless decimals, nothing where there is nothing."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"


def _svg(chart: Any, name: str) -> str:
    """The drawing alone, with its name for those who hear the page instead of seeing it."""
    root = ElementTree.fromstring(str(chart.render(is_unicode=True)))
    _strip(root)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", name)
    ElementTree.register_namespace("", SVG)
    return re.sub(r"\s+(?=/?>)", "", ElementTree.tostring(root, encoding="unicode"))


def _strip(node: ElementTree.Element) -> None:
    for child in list(node):
        tag = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else "comment"
        if tag in (*_DROPPED_TAGS, "comment") or "tooltip-overlay" in child.get("class", ""):
            node.remove(child)
        else:
            child.attrib.pop("id", None)
            _strip(child)
