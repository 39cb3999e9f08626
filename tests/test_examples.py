"""The examples: each does what its README says, in every mode from one test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from meshgen.build.loader import load_target
from meshgen.testing import MODES, Mode, run_http

EXAMPLES = Path(__file__).parent.parent / "examples"


@asynccontextmanager
async def _example(name: str, mode: Mode) -> AsyncIterator[httpx.AsyncClient]:
    """Asks an example over HTTP while it runs."""
    loaded = load_target(f"{EXAMPLES / name / 'app.py'}:app")
    async with (
        run_http(loaded.application, mode=mode, name=loaded.app_name) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", MODES)
async def test_hello_greets_in_the_language_asked_for(mode: Mode) -> None:
    """And tells what is wrong with a question that it cannot answer."""
    async with _example("hello", mode) as client:
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


@pytest.mark.parametrize("mode", MODES)
async def test_chain_passes_one_response_on_to_the_next_call(mode: Mode) -> None:
    """(7 + 1) * 2."""
    async with _example("chain", mode) as client:
        assert (await client.get("/?number=7")).text == "16"
        assert (await client.get("/?number=-1")).text == "0"
        refused = await client.get("/?number=seven")
        assert (refused.status_code, "whole number" in refused.text) == (400, True)


@pytest.mark.parametrize("mode", MODES)
async def test_stream_sends_each_number_as_it_comes(mode: Mode) -> None:
    """The first one arrives while the last ones are not made yet."""
    async with _example("stream", mode) as client:
        async with client.stream("GET", "/?start=3") as answer:
            chunks = [chunk async for chunk in answer.aiter_text()]
        assert "".join(chunks) == "3\n2\n1\nlift-off\n"
        assert len(chunks) > 1
        assert (await client.get("/?start=-1")).status_code == 400


@pytest.mark.parametrize(
    ("script", "expected"), [("demo.py", "Hola Dora\n"), ("stream/watch.py", "3\n2\n1\n")]
)
def test_the_scripts_print_what_they_promise(script: str, expected: str) -> None:
    """Run as a user runs them."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(expected)
