"""A client that knows an address and nothing else: reflection tells it what there is to call."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from google.protobuf import json_format

from tests.reflected import Reflected

pytestmark = pytest.mark.slow  # only the first: it starts a mesh


async def _told(call: Any) -> list[dict[str, Any]]:
    """What an RPC answers, in Protobuf's JSON."""
    answers = [await call] if hasattr(call, "__await__") else [each async for each in call]
    return [json_format.MessageToDict(each, preserving_proto_field_name=True) for each in answers]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_an_address_is_enough(address: str, version: str) -> None:
    """To find the service, its RPCs and their messages, and to call them by JSON."""
    async with asyncio.timeout(30), grpc.aio.insecure_channel(address) as channel:
        stranger = Reflected(address, channel, version=version)
        [service] = [s for s in await stranger.services() if not s.startswith("grpc.")]
        client = Reflected(address, channel, service, version)
        await client.learn(service)
        assert {"Total", "Count", "Hold"} <= {*client.rpcs()}
        items = [{"name": "tea", "price": 2.5}, {"name": "cup"}]
        assert await _told(client.call("Total", {"items": items})) == [{"result": 3.5}]
        assert await _told(client.call("Later", {"at": "1970-01-02T00:00:00Z", "by": "1.5s"})) == [
            {"result": "1970-01-02T00:00:01.500Z"}
        ]
        counted = await _told(client.call("Count", {"to": 3}))
        assert counted == [{}, {"result": "1"}, {"result": "2"}]  # zeros are left out of JSON


async def test_the_types_that_messages_need_are_told_with_them(address: str) -> None:
    """Google's and meshgen's own: an array can be sent by a client that has neither."""
    async with asyncio.timeout(30), grpc.aio.insecure_channel(address) as channel:
        client = Reflected(address, channel, "abroad.shop.v1.ShopService")
        await client.learn("abroad.shop.v1.ShopService")
        image = {"dtype": "int16", "shape": ["2"], "data": "AQACAQ=="}
        [doubled] = await _told(client.call("Double", {"image": image}))
        assert doubled == {"result": {"dtype": "int16", "shape": ["2"], "data": "AgAEAg=="}}
