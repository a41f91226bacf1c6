"""Two versions of the policy as files."""

from __future__ import annotations

from pathlib import Path

from shared.policy.model import REGIME


def two_versions(folder: Path, begins: str) -> Path:
    """The shipped regime, and from a day on another: 20 days instead of 15 after a closing, no follow-up after 3
    months, and the report on the 10th. Returns the folder."""
    text = REGIME.read_text(encoding="utf-8")
    (folder / "first.yaml").write_text(text, encoding="utf-8")
    text = text.replace('version: "2026-1"', 'version: "2026-2"')
    text = text.replace("effective_from: 2026-01-01", f"effective_from: {begins}")
    text = text.replace("after: 15 days", "after: 20 days", 1)
    text = text.replace("due: {day_of_month: 5, month_offset: 1}", "due: {day_of_month: 10, month_offset: 1}")
    start = text.index("  - name: closed-3m\n")
    end = text.index("  - name: ", start + 1)
    (folder / "second.yaml").write_text(text[:start] + text[end:], encoding="utf-8")
    return folder
