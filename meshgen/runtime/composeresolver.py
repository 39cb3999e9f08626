"""Replicas in containers of this machine, for a program that is none of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

logger = logging.getLogger("meshgen")

_SECONDS = 10.0
_LABEL = "label=com.docker.compose"
# A container may be in many networks: any of its addresses will do.
_ADDRESSES = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"


class ComposeResolver:
    """Asks Docker for the addresses of a Compose service's containers."""

    period = 2.0

    def __init__(self, project: str, service: str, port: int) -> None:
        self._filters = (f"{_LABEL}.project={project}", f"{_LABEL}.service={service}")
        self._port = port
        # What was said last of why there are none.
        self._told = ""

    async def addresses(self) -> list[str]:
        """Those of the containers that run; none where Docker does not answer."""
        filters = [part for each in self._filters for part in ("--filter", each)]
        ids = (await self._docker("ps", "--quiet", *filters)).split()
        if not ids:
            return []
        printed = await self._docker("inspect", "--format", _ADDRESSES, *ids)
        hosts = [line.split()[0] for line in printed.splitlines() if line.split()]
        return sorted(f"{host}:{self._port}" for host in hosts)

    async def _docker(self, *arguments: str) -> str:
        """What a command of Docker prints; nothing if it fails, which is logged once."""
        try:
            process = await asyncio.create_subprocess_exec(
                "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as exc:
            return self._failed(str(exc))
        try:
            async with asyncio.timeout(_SECONDS):
                out, errors = await process.communicate()
        except BaseException as exc:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if not isinstance(exc, TimeoutError):
                raise
            return self._failed(f"nothing came within {_SECONDS:g} s")
        return out.decode() if process.returncode == 0 else self._failed(errors.decode())

    def _failed(self, why: str) -> str:
        if why != self._told:
            self._told = why
            logger.warning("Docker cannot be asked for replicas: %s", why.strip())
        return ""
