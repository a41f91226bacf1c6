"""DingTalk and Feishu bots that are none: they check signature, time and shape, and count as the real ones do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.provider import Asked, Provider, Said


@dataclass
class FakeDingTalk(Provider):
    """20 messages a minute; the 21st blocks the bot for ten minutes, whatever comes."""

    secret: str = ""
    clock: Callable[[], float] = time.time
    blocked_until: float = 0.0
    _sent: list[float] = field(default_factory=list)

    def limit(self) -> Said:
        return 200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}

    def refuse(self) -> Said:
        return 200, {"errcode": 310000, "errmsg": "keywords not in content"}

    def judge(self, asked: Asked) -> Said:
        if asked.method != "POST" or asked.path != "/robot/send":
            return 404, None
        if not asked.query.get("access_token"):
            return 200, {"errcode": 40035, "errmsg": "missing parameter access_token"}
        if self.secret and not self._is_signed(asked):
            return 200, {"errcode": 310000, "errmsg": "sign not match"}
        if self._is_over_limit():
            return self.limit()
        try:
            said = asked.document()
            assert said["msgtype"] == "text"
            content = said["text"]["content"]
            assert isinstance(said["at"]["atMobiles"], list)
            assert isinstance(said["at"]["isAtAll"], bool)
        except (ValueError, KeyError, TypeError, AssertionError):
            return 200, {"errcode": 40035, "errmsg": "invalid parameter"}
        self.taken.append((content, tuple(said["at"]["atMobiles"])))
        return 200, {"errcode": 0, "errmsg": "ok"}

    def _is_signed(self, asked: Asked) -> bool:
        timestamp = asked.query.get("timestamp", "0")
        if not timestamp.isdigit() or abs(self.clock() - int(timestamp) / 1000) > 3600:
            return False
        wanted = hmac.new(self.secret.encode(), f"{timestamp}\n{self.secret}".encode(), hashlib.sha256)
        return asked.query.get("sign") == base64.b64encode(wanted.digest()).decode()

    def _is_over_limit(self) -> bool:
        now = self.clock()
        if now < self.blocked_until:
            return True
        self._sent = [at for at in self._sent if at > now - 60] + [now]
        if len(self._sent) > 20:
            self.blocked_until = now + 600
        return now < self.blocked_until


@dataclass
class FakeFeishu(Provider):
    """100 messages a minute and 5 a second; refusals come with HTTP 400 for a bad signature, 200 else."""

    secret: str = ""
    clock: Callable[[], float] = time.time
    _sent: list[float] = field(default_factory=list)

    def limit(self) -> Said:
        return 200, {"code": 11232, "msg": "frequency limited", "data": {}}

    def refuse(self) -> Said:
        return 200, {"code": 19024, "msg": "Key Words Not Found", "data": {}}

    def judge(self, asked: Asked) -> Said:
        if asked.method != "POST" or not asked.path.startswith("/open-apis/bot/v2/hook/"):
            return 404, {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}
        try:
            said = asked.document()
            assert said["msg_type"] == "text"
            content = said["content"]["text"]
        except (ValueError, KeyError, TypeError, AssertionError):
            return 400, {"code": 9499, "msg": "Bad Request", "data": {}}
        if self.secret and not self._is_signed(said.get("timestamp", ""), said.get("sign", "")):
            return 400, {
                "code": 19021,
                "msg": "sign match fail or timestamp is not within one hour",
                "data": {},
            }
        now = self.clock()
        self._sent = [at for at in self._sent if at > now - 60] + [now]
        if len(self._sent) > 100 or sum(1 for at in self._sent if at > now - 1) > 5:
            return self.limit()
        self.taken.append(content)
        return 200, {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}

    def _is_signed(self, timestamp: str, sign: str) -> bool:
        if not timestamp.isdigit() or abs(self.clock() - int(timestamp)) > 3600:
            return False
        wanted = hmac.new(f"{timestamp}\n{self.secret}".encode(), b"", hashlib.sha256)
        return sign == base64.b64encode(wanted.digest()).decode()
