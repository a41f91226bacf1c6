"""Aliyun's and Tencent's interfaces for texts and calls, without telephones behind them.

They verify the signature over what arrived, refuse what is too old, and count by number as the real ones do.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from tests.fakes.provider import Asked, Provider, Said

KEY_ID, KEY_SECRET = "LTAI-test", "between-us"


@dataclass(frozen=True)
class Rung:
    """A text or a call that went out."""

    action: str
    number: str
    words: Any
    reference: str


@dataclass
class FakeAliyun(Provider):
    """Texts one after the other in a second are refused for a number, calls within a minute and over five an hour."""

    clock: Callable[[], float] = time.time
    _sent: dict[str, list[float]] = field(default_factory=dict)

    def limit(self) -> Said:
        return 200, self._said("isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5")

    def refuse(self) -> Said:
        return 200, self._said("isv.OUT_OF_SERVICE", "业务停机")

    def judge(self, asked: Asked) -> Said:
        action = asked.headers.get("x-acs-action", "")
        if problem := self._unsigned(asked):
            return 400, self._said(problem, "Specified signature is not matched with our calculation.")
        if asked.headers.get("x-acs-version") != "2017-05-25":
            return 404, self._said("InvalidVersion", "Specified parameter Version is not valid.")
        said = asked.query
        number = said.get({"SendSms": "PhoneNumbers", "SingleCallByTts": "CalledNumber"}.get(action, ""), "")
        words_name = {"SendSms": "TemplateParam", "SingleCallByTts": "TtsParam"}.get(action, "")
        needed = {"SendSms": ("SignName", "TemplateCode"), "SingleCallByTts": ("TtsCode",)}.get(action)
        if needed is None:
            return 404, self._said("InvalidAction.NotFound", "Specified api is not found.")
        if not number.isdigit() or not all(said.get(name) for name in needed):
            return 400, self._said("isv.INVALID_PARAMETERS", "参数异常")
        words = json.loads(said.get(words_name, "{}"))
        if any(len(word) > 35 for word in words.values()):
            return 200, self._said("isv.PARAM_LENGTH_LIMIT", "变量长度受限")
        if any("://" in word for word in words.values()):
            return 200, self._said("isv.PARAM_NOT_SUPPORT_URL", "不支持url为变量")
        if limited := self._over_limit(action, number):
            return 200, self._said("isv.BUSINESS_LIMIT_CONTROL", f"触发{limited}流控Permits:1")
        reference = f"{100 + len(self.taken)}^200"
        self.taken.append(Rung(action, number, words, reference))
        name = "BizId" if action == "SendSms" else "CallId"
        return 200, {**self._said("OK", "OK"), name: reference}

    def _said(self, code: str, words: str) -> dict[str, str]:
        return {"RequestId": "F655A8D5-B967-440B-8683-DAD6FF8DE990", "Code": code, "Message": words}

    def _unsigned(self, asked: Asked) -> str | None:
        given = asked.headers.get("authorization", "")
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        if abs(self.clock() - _instant(asked.headers.get("x-acs-date", ""))) > 900:
            return "InvalidTimeStamp.Expired"
        lines = "".join(f"{name}:{asked.headers.get(name, '').strip()}\n" for name in names)
        pairs = sorted(parse_qsl(asked.raw_query, keep_blank_values=True))
        query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
        body = hashlib.sha256(asked.body).hexdigest()
        request = f"{asked.method}\n{asked.path}\n{query}\n{lines}\n{';'.join(names)}\n{body}"
        to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(KEY_SECRET.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
        wanted = f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders={';'.join(names)},Signature={signature}"
        signs_all = {"host", "x-acs-action", "x-acs-date", "x-acs-signature-nonce"} <= set(names)
        return None if given == wanted and signs_all else "SignatureDoesNotMatch"

    def _over_limit(self, action: str, number: str) -> str | None:
        now = self.clock()
        sent = self._sent.setdefault(f"{action} {number}", [])
        limits = [("分钟级", 60, 1), ("小时级", 3600, 5), ("天级", 86400, 20)]
        if action == "SendSms":
            limits = [("秒级", 1, 1), ("天级", 86400, 50)]
        for name, seconds, count in limits:
            if sum(1 for at in sent if at > now - seconds) >= count:
                return name
        sent.append(now)
        return None


@dataclass
class FakeTencent(Provider):
    """Errors come with HTTP 200; a text's own with its number."""

    clock: Callable[[], float] = time.time
    calls: bool = False

    def limit(self) -> Said:
        if self.calls:
            return _response({"Error": {"Code": "RequestLimitExceeded", "Message": "..."}})
        return _response({"SendStatusSet": [_status("LimitExceeded.PhoneNumberDailyLimit")]})

    def refuse(self) -> Said:
        code = "FailedOperation.InsufficientBalanceInSmsPackage"
        return _response({"Error": {"Code": code, "Message": "套餐包余量不足"}})

    def judge(self, asked: Asked) -> Said:
        action = asked.headers.get("x-tc-action", "")
        versions = {"SendSms": "2021-01-11", "SendTtsVoice": "2020-09-02"}
        service = {"SendSms": "sms", "SendTtsVoice": "vms"}.get(action, "")
        if problem := self._unsigned(asked, service):
            return _response({"Error": {"Code": problem, "Message": "The provided credentials are invalid."}})
        if versions.get(action) != asked.headers.get("x-tc-version"):
            return _response({"Error": {"Code": "InvalidAction", "Message": "..."}})
        said = asked.document()
        reference = f"{len(self.taken)}:fe2b0c"
        if action == "SendSms":
            if not all(said.get(name) for name in ("SmsSdkAppId", "SignName", "TemplateId")):
                return _response({"Error": {"Code": "MissingParameter", "Message": "..."}})
            number = said["PhoneNumberSet"][0]
            self.taken.append(Rung(action, number, said["TemplateParamSet"], reference))
            return _response({"SendStatusSet": [{**_status("Ok"), "SerialNo": reference}]})
        if not all(said.get(name) for name in ("TemplateId", "CalledNumber", "VoiceSdkAppid")):
            return _response({"Error": {"Code": "MissingParameter", "Message": "..."}})
        self.taken.append(Rung(action, said["CalledNumber"], said["TemplateParamSet"], reference))
        return _response({"SendStatus": {"CallId": reference, "SessionContext": ""}})

    def _unsigned(self, asked: Asked, service: str) -> str | None:
        stamp = asked.headers.get("x-tc-timestamp", "0")
        if abs(self.clock() - int(stamp)) > 300:
            return "AuthFailure.SignatureExpire"
        day = datetime.fromtimestamp(int(stamp), UTC).strftime("%Y-%m-%d")
        lines = f"content-type:{asked.headers['content-type']}\nhost:{asked.headers['host']}\n"
        request = f"POST\n/\n\n{lines}\ncontent-type;host\n{hashlib.sha256(asked.body).hexdigest()}"
        scope = f"{day}/{service}/tc3_request"
        to_sign = f"TC3-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"TC3{KEY_SECRET}".encode()
        for part in (day, service, "tc3_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        wanted = f"TC3-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders=content-type;host, Signature={signature}"
        return None if asked.headers.get("authorization") == wanted else "AuthFailure.SignatureFailure"


def _response(said: dict[str, Any]) -> Said:
    return 200, {"Response": {**said, "RequestId": "a0aabda6-cf91-4f3e-a81f-9198114a2279"}}


def _status(code: str) -> dict[str, str]:
    return {"SerialNo": "", "PhoneNumber": "+8613800000000", "Code": code, "Message": "...", "IsoCode": "CN"}


def _instant(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
