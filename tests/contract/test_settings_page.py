"""docs/settings.md is written from the settings classes, and says what they say."""

from __future__ import annotations

import pytest

from aftercare.configuration import variable
from aftercare.settings_page import PAGE, page
from aftercare.stack import settings_class
from shared.contracts.topics import SERVICES


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m aftercare.settings_page`"


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_is_on_the_page_with_its_docstring(service: str) -> None:
    text = page()
    for name, field in settings_class(service).model_fields.items():
        assert field.description, f"{service}: {name} has no docstring"
        shown = field.description.replace("\n", " ").replace("|", "\\|")
        rows = [line for line in text.splitlines() if line.startswith(f"| `{variable(name)}` |")]
        assert any(line.endswith(f"| {shown} |") for line in rows), f"{service}: {name}"


def test_a_variable_of_one_service_stands_in_its_section_alone() -> None:
    sections = dict(part.split("\n", 1) for part in page().split("\n## ")[1:])
    homes = [title for title, text in sections.items() if "AFTERCARE_HEARTBEAT_URL" in text]
    assert homes == ["crisis"]
    assert "AFTERCARE_HTTP_PORT" not in sections["All services"]
    assert all("AFTERCARE_HTTP_PORT" in sections[service] for service in SERVICES)
