"""What looks like a way to reach or identify a person has no place in a case file (F47, F48, W45)."""

from __future__ import annotations

import pytest

from services.intake.domain.private_detail import looks_like


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("电话13800138000，晚上联系", "a telephone number"),
        ("138 0013 8000", "a telephone number"),
        ("138-0013-8000", "a telephone number"),
        ("１３８００１３８０００", "a telephone number"),
        ("+86 13800138000", "a telephone number"),
        ("008613800138000", "a telephone number"),
        ("010-62345678", "a telephone number"),
        ("(021) 6234 5678", "a telephone number"),
        ("0755 8234567", "a telephone number"),
        ("400-161-9995", "a telephone number"),
        ("+44 20 7946 0958", "a telephone number"),
        ("write to someone@example.com", "an e-mail address"),
        ("someone＠example．com", "an e-mail address"),
        ("11010519491231002X", "an ID number"),
        ("110105 19491231 0021", "an ID number"),
        ("110105491231002", "an ID number"),
    ],
)
def test_what_looks_like_one_is_found(text: str, what: str) -> None:
    assert looks_like(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "职业转型，换了新岗位，工作三年",
        "between 2026-03-02 and 2026-05-31, six sessions of 50-60 minutes",
        "20260302 至 20260531",
        "budget of 1300000 yuan, a team of 12000",
        "PHQ-9: 12; GAD-7: 9 (2026-03-02 10:00)",
        "follow-up 7f3a9913800138000bc2",
        "@ home, 24/7",
        "2024 - 2025, 2025 - 2026",
        "长" * 4000,
        "1 " * 2000,
        "2026-03-12 2026-04-01 2026-05-06 2026-06-30",
        "in session 16 2026-03-02 50 minutes, in session 17 2026-03-09 55",
    ],
)
def test_what_is_none_passes(text: str) -> None:
    assert looks_like(text) is None
