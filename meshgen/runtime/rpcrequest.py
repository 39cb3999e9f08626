"""What a client of a typed RPC says beside its message: in metadata, and by its deadline.

| metadata | what |
|---|---|
| `x-request-id` | names the request in logs and answers; a new id by default |
| `session_id` | calls of one session go to the same replica |
| `multiplexed_model_id` | which model is meant |
"""

from __future__ import annotations

import re
import time
from typing import Any

from meshgen.types import RequestContext, new_id

REQUEST_ID = "x-request-id"
_MODEL = "multiplexed_model_id"
_SESSION = "session_id"
_KNOWN = frozenset((REQUEST_ID, _MODEL, _SESSION))
_LONGEST = 128
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


def read_request(context: Any, app: str, *, is_served: bool = False) -> RequestContext:
    """The request that an RPC is, for application `app`."""
    given: dict[str, str] = {}
    for key, value in context.invocation_metadata():
        if key in _KNOWN and isinstance(value, str):
            given[key] = _clean(value)
    left = context.time_remaining()
    return RequestContext(
        request_id=given.get(REQUEST_ID) or new_id(),
        app_name=app,
        multiplexed_model_id=given.get(_MODEL, ""),
        session_id=given.get(_SESSION, ""),
        deadline=None if left is None else time.monotonic() + left,
        is_served=is_served,
    )


def _clean(given: str) -> str:
    """Text without what could forge a line of the log."""
    return _NOT_PRINTABLE.sub("", given)[:_LONGEST].strip()
