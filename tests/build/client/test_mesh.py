"""A generated client and the gateway of a mesh that runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import pytest

from meshgen.testing import Mode, run_grpc
from tests.build.client.apps import ECHO, build_client, importable


@pytest.mark.parametrize("mode", ["in-process", "processes"])
async def test_a_client_calls_a_mesh(mode: Mode, tmp_path: Path) -> None:
    """The application's own code answers: the ingress, and what it exposes."""
    built = build_client(tmp_path, ECHO, "default")
    app = sys.modules["default_app"].app
    with importable(built) as package:
        async with run_grpc(app, mode=mode) as address:
            async with package.AsyncDefaultClient(address) as client:
                assert await client.front(name="Dora") == "Hello Dora"
                assert await client.echo.anything({"a": [1, None]}) == {"a": [1, None]}
                assert await client.echo.defaults(1, d="x") == "12[3]xNone"
                assert [item.name async for item in client.echo.count(3)] == ["0", "1", "2"]
                with pytest.raises(grpc.RpcError) as caught:
                    await client.echo.slow(1, timeout=0.1)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

            def blocking() -> str:
                with package.DefaultClient(address) as client:
                    answer: str = client.front(name="Dora")
                    return answer

            assert await asyncio.to_thread(blocking) == "Hello Dora"
