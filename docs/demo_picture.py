"""Draws `docs/demo.svg` from a real run of the demo: `python docs/demo_picture.py` (as long as `aftercare demo`)."""

from __future__ import annotations

import asyncio
import html
import io
import re
import tempfile
from datetime import datetime
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console, Group

from aftercare import demo
from aftercare.live import LiveView
from shared.observability import logging as logs

PICTURE = Path(__file__).with_name("demo.svg")
MOMENT = "06-30"
"""The day of the run that is shown: nearly its end."""

# Without the fonts that would be fetched from elsewhere: a page asks for nothing from outside.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


class Kept(LiveView):
    """The live view, which keeps its picture of one moment."""

    picture: Group | None = None

    def _moved(self, now: datetime) -> None:
        super()._moved(now)
        if Kept.picture is None and f"{now:%m-%d}" >= MOMENT:
            Kept.picture = self._picture()


def drawn() -> str:
    """The picture as SVG."""
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
    console.print("[bold green]$[/] make demo\n")
    console.print(Kept.picture)
    return _TEXT.sub(_in_cells, console.export_svg(title="half a year of 40 clients", code_format=FORMAT))


_TEXT = re.compile(r'textLength="[0-9.]+"([^>]*)>([^<]*)<')
CELL = 12.2
"""The width of a terminal's cell in rich's pictures."""


def _in_cells(text: re.Match[str]) -> str:
    """Rich reckons the width of a text by characters; a Chinese one has two cells."""
    length = CELL * cell_len(html.unescape(text[2]))
    return f'textLength="{length:g}"{text[1]}>{text[2]}<'


if __name__ == "__main__":
    logs.configure("ERROR")
    demo.isolate("demo")
    demo.LiveView = Kept  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(demo.run_demo(Path(folder), Console(file=io.StringIO())))
    PICTURE.write_text(drawn(), encoding="utf-8")
