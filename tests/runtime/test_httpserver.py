"""How the server of HTTP ends."""

from __future__ import annotations

import asyncio

import httpx
from starlette.requests import Request

from meshgen.listener import bind
from meshgen.runtime.httpserver import make_server
from meshgen.runtime.webgateway import make_app
from tests.runtime.webmesh import InMemoryMesh


async def test_what_ends_with_it_does_so_while_requests_are_finished() -> None:
    """Neither waits for the other to begin: here, each would wait for ever."""
    began = asyncio.Event()

    async def until_the_other_ends(_: Request) -> str:
        server.should_exit = True
        await began.wait()
        return "done"

    async def end() -> None:
        began.set()

    mesh = InMemoryMesh({"/": until_the_other_ends})
    server = make_server(make_app(lambda: mesh.mesh, mesh), stop_too=end)
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    async with asyncio.timeout(10), httpx.AsyncClient(trust_env=False) as web:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        assert (await web.get(url)).text == "done"
        await serving
