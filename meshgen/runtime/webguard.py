"""Turns away HTTP requests without a token, as their clients understand it."""

from __future__ import annotations

from meshgen.runtime.exchange import Exchange
from meshgen.runtime.grpcweb import is_grpc_web, refuse
from meshgen.runtime.tokengate import NEEDED, TokenGate

HEALTH_PATH = "/-/healthz"
# A page that tells nothing before it is given a token, which no browser sends by itself.
_PAGE = "/-/docs"
_HEADER = "authorization"


async def turned_away(gate: TokenGate | None, exchange: Exchange) -> bool:
    """Answer a request that may not come in; whether it was one. Health is everybody's,
    and so is the empty page that asks for a token.

    The token is for the gateway: what comes in goes on without it.
    """
    if gate is None or exchange.path in (HEALTH_PATH, _PAGE):
        return False
    if gate.admits(exchange.header(_HEADER)):
        exchange.drop_header(_HEADER)
        return False
    if is_grpc_web(exchange):
        await refuse(exchange, "UNAUTHENTICATED", NEEDED)
    else:
        await exchange.reply(401, NEEDED, headers=((b"www-authenticate", b"Bearer"),))
    return True
