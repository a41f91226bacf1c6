"""The live view of a time-lapse run: the virtual date, events by topic, follow-ups, pages as they arrive.

Without a terminal it prints a plain line for each month and each page instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aftercare.simulate import Run
from shared.contracts.topics import COMPANY_TOPICS, TOPICS
from shared.contracts.types import COMPANY_ZONE


class LiveView:
    """Shows one run."""

    def __init__(self, run: Run, start: datetime, until: datetime, console: Console | None = None) -> None:
        self._run = run
        self._start = start
        self._until = until
        self._console = console or Console()
        self._month = ""
        self._before = start
        self._pages_seen = 0
        self._last_pages: deque[tuple[str, str]] = deque(maxlen=6)
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the run while the block lasts."""
        self._run.timelapse.moved.append(self._moved)
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._picture, console=self._console, refresh_per_second=8) as self._live:
            yield

    def _moved(self, now: datetime) -> None:
        # The clock has just moved: what is new came at the instant before.
        came = self._before.astimezone(COMPANY_ZONE)
        self._before = now
        date = now.astimezone(COMPANY_ZONE)
        for page in self._run.bot.pages[self._pages_seen :]:
            first_line = page.text.splitlines()[0]
            self._last_pages.append((f"{came:%Y-%m-%d %H:%M}", first_line))
            if self._live is None:
                self._console.print(
                    f"{came:%Y-%m-%d %H:%M}  page  {first_line}", highlight=False, soft_wrap=True
                )
        self._pages_seen = len(self._run.bot.pages)
        if self._live is None and f"{date:%Y-%m}" != self._month:
            self._month = f"{date:%Y-%m}"
            done = len(self._run.outcome.recorded)
            self._console.print(
                f"{date:%Y-%m-%d}  {sum(self._run.recorder.counts.values()):5} events  "
                f"{len(self._run.outcome.planned):4} follow-ups planned, {done} conducted",
                highlight=False,
            )

    def _picture(self) -> Group:
        now = self._run.timelapse.clock.now().astimezone(COMPANY_ZONE)
        span = (self._until - self._start).total_seconds()
        share = min((now - self._start).total_seconds() / span, 1.0) if span else 1.0
        head = Text.assemble(
            ("Aftercare  ", "bold"), (f"{now:%Y-%m-%d %H:%M}", "bold cyan"), "  virtual time"
        )
        return Group(
            head,
            Padding(ProgressBar(total=1.0, completed=share, width=72), 0),  # a bar alone ends no line
            Columns(
                [self._topics("in", company=True), self._topics("out", company=False), self._follow_ups()]
            ),
            self._pages(),
        )

    def _topics(self, title: str, *, company: bool) -> Panel:
        table = Table.grid(padding=(0, 1))
        for name in TOPICS:
            count = self._run.recorder.counts[name]
            if count and (name in COMPANY_TOPICS) is company:
                table.add_row(name, Text(str(count), "cyan", justify="right"))
        return Panel(table, title=f"events {title}", border_style="dim")

    def _follow_ups(self) -> Panel:
        outcome = self._run.outcome
        standing = [one for one in outcome.planned.values() if one.change in ("planned", "moved")]
        counts = self._run.recorder.counts
        late = sum("late" in changes for changes in outcome.duties.values())
        table = Table.grid(padding=(0, 1))
        for name, count in (
            ("follow-ups standing", len(standing)),
            ("came due", counts["follow-up-due"]),
            ("recorded", len(outcome.recorded)),
            ("duties opened", len(outcome.duties)),
            ("ran late", late),
            ("incidents", len(outcome.incidents)),
            ("pages", len(self._run.bot.pages)),
            ("dead letters", self._run.recorder.dead_letters),
        ):
            table.add_row(name, Text(str(count), "cyan", justify="right"))
        return Panel(table, title="regime", border_style="dim")

    def _pages(self) -> Panel:
        table = Table.grid(padding=(0, 2))
        for when, line in self._last_pages:
            table.add_row(Text(when, "cyan"), Text(line, "red"))
        return Panel(table, title="pages at the bot", border_style="dim")
