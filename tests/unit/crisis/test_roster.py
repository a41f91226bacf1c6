"""The roster as it is written: the examples of the pages are true, and what cannot work is refused with advice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.crisis import addresses
from services.crisis import roster as roster_module
from services.crisis.roster import read_roster
from shared.policy.reading import PolicyError

DOCS = Path(__file__).parents[3] / "docs" / "channels.md"


def yaml_of(text: str) -> str:
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    "text", [DOCS.read_text(), roster_module.__doc__], ids=["docs/channels.md", "roster.py"]
)
def test_the_examples_can_be_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "roster.yaml"
    file.write_text(yaml_of(text))
    roster = read_roster(file)
    kinds = [channel.kind for channel in roster.people[0].channels]
    assert kinds[-2:] == ["sms", "voice"]
    assert [account.name for account in roster.providers] == ["aliyun", "tencent"]


def test_somebody_without_a_channel_is_named_and_refuses_nobody_the_start(tmp_path: Path) -> None:
    file = tmp_path / "roster.yaml"
    file.write_text("people: [{id: staff-1, roles: [on-call]}]")
    assert read_roster(file).without_channel() == ("staff-1",)


def test_every_kind_of_channel_stands_in_the_page() -> None:
    kinds = set(re.findall(r'kind: Literal\["([a-z]+)"\]', Path(addresses.__file__).read_text()))
    page = DOCS.read_text()
    assert not [kind for kind in kinds if f"`{kind}`" not in page and f"kind: {kind}" not in page]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("people: [{id: a, roles: [x], channels: [{kind: sms, number: '+861'}]}]", "providers"),
        ("people: [{id: a, roles: [x]}, {id: a, roles: [y]}]", "listed twice"),
        (
            "people: [{id: a, roles: [x], channels: [{kind: wecom, url: u, after: 1 h}]}]",
            "less than or equal",
        ),
        (
            "providers: [{kind: aliyun, key_id: a, key_secret: b}, {kind: aliyun, key_id: a, key_secret: b}]",
            "have one name",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, text: str, advice: str) -> None:
    file = tmp_path / "roster.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=advice) as refusal:
        read_roster(file)
    assert f"{file}:1" in str(refusal.value)
