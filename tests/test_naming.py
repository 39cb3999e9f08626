"""Names in DNS, in .proto files, in Python modules and in the environment."""

from __future__ import annotations

import keyword
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshgen.naming import (
    MessageName,
    ProtoName,
    ServiceName,
    VariableName,
    grpc_service,
    problem_with,
    words,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SpanishResponder", "spanish-responder"),
        ("HTTPServer", "http-server"),
        ("parseJSONNow", "parse-json-now"),
        ("D_1", "d-1"),
        ("D1", "d1"),
        ("Model2Vec", "model2-vec"),
        ("__init__", "init"),
        ("a/b c.d", "a-b-c-d"),
        ("Übung", "ubung"),
        ("a模b", "ab"),
        ("Éclair", "eclair"),
        ("x" * 63, "x" * 63),
        ("x" * 64, ""),
        ("2fast", ""),
        ("模型", ""),
        ("", ""),
        ("---", ""),
    ],
)
def test_a_service_name_is_the_kebab_case_dns_label(name: str, expected: str) -> None:
    """What cannot be a label becomes empty, never something else."""
    assert ServiceName(name) == expected


@pytest.mark.parametrize(
    ("name", "snake", "pascal", "variable"),
    [
        ("SpanishResponder", "spanish_responder", "SpanishResponder", "SPANISH_RESPONDER"),
        ("spanish-responder", "spanish_responder", "SpanishResponder", "SPANISH_RESPONDER"),
        ("HTTPServer", "http_server", "HttpServer", "HTTP_SERVER"),
        ("Message", "message_service", "Message", "MESSAGE"),
        ("stream", "stream_service", "Stream", "STREAM"),
        ("Lambda", "lambda_service", "Lambda", "LAMBDA"),
        ("Class", "class_service", "Class", "CLASS"),
        ("d_1", "d_1", "D1", "D_1"),
    ],
)
def test_one_name_has_a_form_for_each_place(
    name: str, snake: str, pascal: str, variable: str
) -> None:
    """Packages and files in snake_case, messages in PascalCase, variables in UPPER_CASE."""
    assert ProtoName(name) == snake
    assert MessageName(name) == pascal
    assert VariableName(name) == variable


def test_a_grpc_service_is_named_as_buf_wants_it() -> None:
    """Lower snake package with a version, PascalCase service that ends in Service."""
    assert (
        grpc_service("default", "SpanishResponder")
        == "default.spanish_responder.v1.SpanishResponderService"
    )


@given(st.text(max_size=80))
@example("x" * 62 + "-Y")
@example("ﬁ①Ⅷ")
def test_any_name_gives_a_safe_label_or_none(name: str) -> None:
    """No input gets through that DNS, protoc or Python would refuse."""
    service = ServiceName(name)
    assert service == "" or re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", service)
    if service:
        assert problem_with(name) is None or service == "gateway"
        assert re.fullmatch(r"[a-z][a-z0-9_]*", ProtoName(name))
        assert not keyword.iskeyword(ProtoName(name))
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", MessageName(name))
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", VariableName(name))
    else:
        assert problem_with(name) is not None


@given(st.text(max_size=40))
def test_deriving_a_name_twice_changes_nothing(name: str) -> None:
    """A service's name is its own service name, so a folder can be named after either."""
    assert ServiceName(ServiceName(name)) == ServiceName(name)
    assert words("-".join(words(name))) == words(name)


@pytest.mark.parametrize("name", ["gateway", "Gateway", "GATEWAY"])
def test_the_gateways_name_is_taken(name: str) -> None:
    """The sentence says whose it is and what to do."""
    problem = problem_with(name)
    assert problem is not None
    assert "'gateway'" in problem and ".options(name=...)" in problem


@pytest.mark.parametrize("name", ["模型", "9lives", "y" * 64, "!"])
def test_an_impossible_name_says_what_a_name_may_be(name: str) -> None:
    """The sentence holds the rule and the way out."""
    problem = problem_with(name)
    assert problem is not None
    assert "DNS name" in problem and ".options(name=...)" in problem
