"""JSON that is no message: refused in a sentence, whatever Protobuf makes of it."""

from __future__ import annotations

import pytest

from meshgen.errors import InvalidValueError
from meshgen.runtime import jsoncall
from tests.typed.models import Point
from tests.typed.services import echo_of


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "it is no JSON object"),
        (b"{", "Expecting property name"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (b'{"x": "\\ud800"}', "surrogates not allowed"),
        (b'{"y": 1}', 'has no field named "y"'),
    ],
)
def test_a_body_that_is_no_message_is_refused(body: bytes, reason: str) -> None:
    """With the name of the message that was meant."""
    converter = echo_of(Point | int)
    with pytest.raises(InvalidValueError) as caught:
        jsoncall._parse(converter.request_class, body)
    assert str(caught.value).startswith("the body is no demo.shop.v1.InvokeRequest: ")
    assert reason in str(caught.value)
