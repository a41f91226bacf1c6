"""Where the next page of a list begins that is in the order of time: an instant and an id, opaque to whoever asks."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime

from shared.clock import to_millisecond
from shared.web.problems import Problem


def write_cursor(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), key]).encode()).decode()


def read_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    """Raises Problem for one that we did not give."""
    if cursor is None:
        return None
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        instant = datetime.fromisoformat(at)
        if instant.tzinfo is None or not isinstance(key, str):
            raise ValueError
        return to_millisecond(instant), key
    except (ValueError, TypeError, binascii.Error):
        raise Problem(
            422, "invalid-cursor", "use the `next` of the page before", field="query.after"
        ) from None
