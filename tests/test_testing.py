"""`meshgen.testing`: what its modes have in common, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import httpx
import psutil
import pytest

from meshgen import serve
from meshgen.errors import BuildError, NotServingError
from meshgen.testing import MODES, Mode, run_app, run_http
from tests.apps import shapes, web


@pytest.mark.parametrize("mode", MODES)
async def test_only_processes_are_other_processes(mode: Mode) -> None:
    """The other two modes run user code right here, where a debugger is."""

    def where() -> int:
        return os.getpid()

    async with run_app(serve.deployment(where).bind(), mode=mode) as handle:
        assert (await handle.remote() == os.getpid()) is (mode != "processes")


@pytest.mark.parametrize("mode", MODES)
async def test_nothing_is_left(mode: Mode) -> None:
    """No task, no process, no caller; a handle says that its mesh is gone."""
    before = asyncio.all_tasks()
    children = set(psutil.Process().children(recursive=True))
    async with run_app(shapes.diamond, mode=mode) as handle:
        await handle.each.remote("bump")
    with pytest.raises(NotServingError, match="was shut down"):
        await handle.each.remote("bump")
    with pytest.raises(NotServingError):
        serve.get_app_handle("default")
    if left := asyncio.all_tasks() - before:
        await asyncio.wait(left, timeout=5)
    assert asyncio.all_tasks() <= before
    # Of tests before this one, some may have gone meanwhile.
    assert set(psutil.Process().children(recursive=True)) <= children


@pytest.mark.parametrize("mode", MODES)
async def test_a_test_that_fails_leaves_nothing_either(mode: Mode) -> None:
    """Its own error comes out as it is."""
    with pytest.raises(LookupError, match="own mistake"):
        async with run_app(shapes.Leaf.bind(), mode=mode):
            raise LookupError("own mistake")
    with pytest.raises(NotServingError):
        serve.get_app_handle("default")


@pytest.mark.parametrize("mode", MODES)
async def test_two_applications_run_beside_each_other(mode: Mode) -> None:
    """Each handle calls its own, whichever block is the inner one."""
    async with (
        run_app(shapes.Leaf.bind("outer"), mode=mode, name="outer") as outer,
        run_app(shapes.Leaf.bind("inner"), mode=mode, name="inner") as inner,
    ):
        assert (await outer.remote(), await inner.remote()) == ("outer", "inner")
        assert await serve.get_app_handle("inner").remote() == "inner"


@pytest.mark.parametrize("mode", MODES)
async def test_http_is_served_and_over_at_the_end(mode: Mode) -> None:
    """On a free port."""
    async with run_http(web.Bare.bind(), mode=mode) as address:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            assert (await client.get(address)).text == "no request needed"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


@pytest.mark.parametrize("mode", MODES)
async def test_user_objects_are_let_go(mode: Mode, tmp_path: Path) -> None:
    """`__del__` runs once, when the application stops."""
    traces = tmp_path / "traces.txt"

    class Closing:
        def __call__(self) -> str:
            return "here"

        def __del__(self) -> None:
            with traces.open("a") as file:
                file.write("gone\n")

    async with run_app(serve.deployment(Closing).bind(), mode=mode) as handle:
        assert await handle.remote() == "here"
        assert not traces.exists()
    gc.collect()
    assert traces.read_text() == "gone\n"


async def test_a_graph_that_cannot_be_is_refused_before_anything_starts() -> None:
    """As `serve.run` and `meshgen build` refuse it."""
    app = shapes.Nested.bind(shapes.Leaf.options(name="日本").bind())
    with pytest.raises(BuildError, match="cannot become a DNS name"):
        async with run_app(app):
            pass
