"""The examples: each does what its README says, in every mode and in Compose from one test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import httpx
import pytest

from meshgen.build.loader import load_target
from meshgen.testing import MODES, Mode, run_http
from tests.conftest import StartMesh

EXAMPLES = Path(__file__).parent.parent / "examples"


in_all_modes_and_compose = pytest.mark.parametrize(
    "mode",
    [*MODES, pytest.param("compose", marks=[pytest.mark.containers, pytest.mark.slow])],
)
Start = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def example(mode: str, request: pytest.FixtureRequest) -> Start:
    """Runs an example in the test's mode; gives a client that asks it over HTTP."""
    if mode == "compose":
        # Asked for here: the other modes need no Docker engine.
        return partial(_in_compose, request.getfixturevalue("start_mesh"))
    return partial(_in_mode, cast(Mode, mode))


@asynccontextmanager
async def _in_mode(mode: Mode, name: str) -> AsyncIterator[httpx.AsyncClient]:
    loaded = load_target(f"{EXAMPLES / name / 'app.py'}:app")
    async with run_http(loaded.application, mode=mode, name=loaded.app_name) as address:
        async with _client(address) as client:
            yield client


@asynccontextmanager
async def _in_compose(start_mesh: StartMesh, name: str) -> AsyncIterator[httpx.AsyncClient]:
    mesh = start_mesh(f"{EXAMPLES / name / 'app.py'}:app")
    async with _client(mesh.url) as client:
        yield client


def _client(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, trust_env=False, timeout=20)


@in_all_modes_and_compose
async def test_hello_greets_in_the_language_asked_for(example: Start) -> None:
    """And tells what is wrong with a question that it cannot answer."""
    async with example("hello") as client:
        for language, greeting in (("spanish", "Hola Dora"), (" French ", "Bonjour Dora")):
            answer = await client.post("/", json={"language": language, "name": "Dora"})
            assert (answer.status_code, answer.text.strip()) == (200, greeting)
        wrong: dict[bytes, str] = {
            b"{": "not JSON",
            b"[1]": "not an object",
            b'{"language": "spanish"}': "needs a name",
            b'{"language": 3, "name": "Dora"}': "needs a language",
            b'{"language": "german", "name": "Dora"}': "I speak spanish and french",
        }
        for body, problem in wrong.items():
            answer = await client.post("/", content=body)
            assert answer.status_code == 400
            assert problem in answer.text


@in_all_modes_and_compose
async def test_chain_passes_one_response_on_to_the_next_call(example: Start) -> None:
    """(7 + 1) * 2."""
    async with example("chain") as client:
        assert (await client.get("/?number=7")).text == "16"
        assert (await client.get("/?number=-1")).text == "0"
        refused = await client.get("/?number=seven")
        assert (refused.status_code, "whole number" in refused.text) == (400, True)


@in_all_modes_and_compose
async def test_reference_begins_before_the_value_is_there(example: Start) -> None:
    """By reference; by value the call waits for it."""
    async with example("reference") as client:
        by_value = await client.get("/?text=three+short+words")
        assert by_value.text == "3 words; the model began after they were ready\n"
        # They take 0.2 s. Machines pause at times: of so many, one must begin in time.
        for _ in range(10):
            by_reference = await client.get("/?text=three+short+words&pass=reference")
            if "before" in by_reference.text:
                break
        assert by_reference.text == "3 words; the model began before they were ready\n"
        assert (await client.get("/?text=word&pass=away")).status_code == 400


@in_all_modes_and_compose
async def test_objectref_gives_a_task_what_a_deployment_makes(example: Start) -> None:
    """1 + 2 + 3 + 4, from a list that is small or large."""
    async with example("objectref") as client:
        assert (await client.get("/?most=4")).text == "10\n"
        assert (await client.get("/?most=100000")).text == "5.00005e+09\n"
        assert (await client.get("/?most=few")).status_code == 400


@in_all_modes_and_compose
async def test_stream_sends_each_number_as_it_comes(example: Start) -> None:
    """The first one arrives while the last ones are not made yet."""
    async with example("stream") as client:
        async with client.stream("GET", "/?start=3") as answer:
            chunks = [chunk async for chunk in answer.aiter_text()]
        assert "".join(chunks) == "3\n2\n1\nlift-off\n"
        assert len(chunks) > 1
        assert (await client.get("/?start=-1")).status_code == 400


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("demo.py", "Hola Dora\n"),
        ("stream/watch.py", "3\n2\n1\n"),
        ("objectref/script.py", "[1, 4, 9, 16]\n10.0\n"),
    ],
)
def test_the_scripts_print_what_they_promise(script: str, expected: str) -> None:
    """Run as a user runs them."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(expected)
