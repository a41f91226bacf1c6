"""What providers of texts and calls tell afterwards: delivered, answered, a key pressed. Reading only.

Aliyun pushes JSON arrays, for texts `SmsReport` and for calls `VoiceReport` (at the end) and `VoiceCallReport` (in
between); it repeats after 1, 5 and 10 minutes what was not answered with HTTP 200. Tencent pushes an array for texts,
and one object with one of three names for calls. Source: help.aliyun.com (sms, vms: receipts over HTTP),
cloud.tencent.com (382/43547, 1128: event call-backs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from services.crisis.domain import Received

Provider = Literal["aliyun", "tencent"]

ANSWERED = ("200000", "200001", "200008")
"""Aliyun's codes for a call that was taken: heard to the end, hung up before, no key pressed."""


class NoReceipt(ValueError):
    """A body that is not what the provider's pages describe."""


@dataclass(frozen=True)
class Receipt:
    """What became of one text or call."""

    reference: str
    """As in `Accepted`."""
    what: Received
    key: str = ""


def read_receipts(provider: Provider, body: Any) -> list[Receipt]:
    """The receipts of one request, in its order; what is of neither texts nor calls is left out. Raises NoReceipt."""
    if provider == "aliyun":
        return [receipt for one in _objects(body) for receipt in _aliyun(one)]
    if isinstance(body, list):
        return [receipt for one in _objects(body) for receipt in _tencent_text(one)]
    return [receipt for one in _objects([body]) for receipt in _tencent_call(one)]


def answer(provider: Provider) -> dict[str, Any]:
    """What the provider wants to read, so that it does not say it again."""
    return {"code": 0, "msg": "OK"} if provider == "aliyun" else {"result": 0, "errmsg": "OK"}


def _objects(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, list) or not all(isinstance(one, dict) for one in body):
        raise NoReceipt("a receipt is an object, or a list of them")
    return body


def _aliyun(said: dict[str, Any]) -> Iterator[Receipt]:
    if said.get("biz_id"):
        yield Receipt(
            f"aliyun:{said['biz_id']}", "delivered" if said.get("success") is True else "undelivered"
        )
    elif said.get("call_id"):
        reference, code = f"aliyun:{said['call_id']}", str(said.get("status_code", ""))
        key = str(said.get("dtmf") or "")
        if key or code in ANSWERED:
            yield Receipt(reference, "answered")
        if key:
            yield Receipt(reference, "key-pressed", key)
        # A report in between has no end, and says nothing yet of a call that still rings.
        if not key and code not in ANSWERED and "end_time" in said:
            yield Receipt(reference, "undelivered")


def _tencent_text(said: dict[str, Any]) -> Iterator[Receipt]:
    if said.get("sid") and "report_status" in said:
        delivered = said["report_status"] == "SUCCESS"
        yield Receipt(f"tencent:{said['sid']}", "delivered" if delivered else "undelivered")


def _tencent_call(said: dict[str, Any]) -> Iterator[Receipt]:
    for name in ("voiceprompt_callback", "voicekey_callback", "voice_failure_callback"):
        told = said.get(name)
        if not isinstance(told, dict) or not told.get("callid"):
            continue
        reference = f"tencent:{told['callid']}"
        if name == "voicekey_callback":
            yield Receipt(reference, "answered")
            yield Receipt(reference, "key-pressed", str(told.get("keypress", "")))
        elif name == "voiceprompt_callback" and str(told.get("result")) == "0":
            yield Receipt(reference, "answered")
        else:
            yield Receipt(reference, "undelivered")
