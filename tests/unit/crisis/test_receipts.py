"""What providers push, in the shapes of their pages, and the addresses that only they know."""

from __future__ import annotations

from typing import Any

import pytest

from services.crisis.links import Forged, ReceiptLinks
from services.crisis.receipts import NoReceipt, Provider, Receipt, answer, read_receipts

VOICE_REPORT = {
    "call_id": "100001616500^100001871490", "start_time": "2017-06-01 10:00:00", "end_time": "2017-06-01 10:00:20",
    "duration": "10", "status_code": "200000", "status_msg": "用户听完语音", "out_id": "123456", "dtmf": "",
}  # fmt: skip
SMS_REPORT = {
    "phone_number": "13800000000", "send_time": "2017-01-01 00:00:00", "report_time": "2017-01-01 00:00:00",
    "success": True, "err_code": "DELIVERED", "err_msg": "用户接收成功", "sms_size": "1", "biz_id": "12345^0",
}  # fmt: skip
TENCENT_SMS = {
    "user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13800000000",
    "report_status": "SUCCESS", "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": "2:fe",
}  # fmt: skip
CALL = {"callid": "1:fe", "mobile": "13800000000", "nationcode": "86", "call_from": ""}


@pytest.mark.parametrize(
    ("provider", "body", "expected"),
    [
        ("aliyun", [SMS_REPORT], [Receipt("aliyun:12345^0", "delivered")]),
        ("aliyun", [SMS_REPORT | {"success": False}], [Receipt("aliyun:12345^0", "undelivered")]),
        ("aliyun", [VOICE_REPORT], [Receipt("aliyun:100001616500^100001871490", "answered")]),
        (
            "aliyun",
            [VOICE_REPORT | {"status_code": "200003"}],
            [Receipt("aliyun:100001616500^100001871490", "undelivered")],
        ),
        (
            "aliyun",
            [{"status_code": "300000", "dtmf": "1", "status_time": "2023-03-06 16:21:12", "call_id": "1^2"}],
            [Receipt("aliyun:1^2", "answered"), Receipt("aliyun:1^2", "key-pressed", "1")],
        ),
        ("aliyun", [{"status_code": "200101", "status_time": "...", "call_id": "1^2"}], []),
        ("tencent", [TENCENT_SMS], [Receipt("tencent:2:fe", "delivered")]),
        ("tencent", [TENCENT_SMS | {"report_status": "FAIL"}], [Receipt("tencent:2:fe", "undelivered")]),
        ("tencent", {"voiceprompt_callback": CALL | {"result": "0"}}, [Receipt("tencent:1:fe", "answered")]),
        ("tencent", {"voiceprompt_callback": CALL | {"result": "1"}}, [Receipt("tencent:1:fe", "undelivered")]),
        (
            "tencent",
            {"voicekey_callback": CALL | {"keypress": "1"}},
            [Receipt("tencent:1:fe", "answered"), Receipt("tencent:1:fe", "key-pressed", "1")],
        ),
        ("tencent", {"voice_failure_callback": CALL | {"failure_code": 8}}, [Receipt("tencent:1:fe", "undelivered")]),
        ("tencent", {"voicecode_callback": CALL}, []),
        ("aliyun", [], []),
    ],
)  # fmt: skip
def test_the_shapes_of_the_providers_pages(provider: Provider, body: Any, expected: list[Receipt]) -> None:
    assert read_receipts(provider, body) == expected


@pytest.mark.parametrize("body", [None, "text", 1, [1], {"a": 1}])
def test_what_is_no_receipt_is_refused(body: Any) -> None:
    with pytest.raises(NoReceipt):
        read_receipts("aliyun", body)


def test_each_provider_reads_the_answer_that_it_wants() -> None:
    assert answer("aliyun")["code"] == answer("tencent")["result"] == 0


def test_an_address_is_of_one_provider_and_one_key() -> None:
    links = ReceiptLinks(b"key", "https://crisis.example/")
    token = links.make("aliyun").removeprefix("https://crisis.example/r/")
    assert links.read(token) == "aliyun"
    for forged in (token.replace("aliyun", "tencent"), token[:-1], "aliyun.", "aliyun", "", "aliyun.ä"):
        with pytest.raises(Forged):
            links.read(forged)
    with pytest.raises(Forged):
        ReceiptLinks(b"another", "https://crisis.example").read(token)
