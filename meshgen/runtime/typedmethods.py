"""The typed RPCs of a deployment, where its code is: messages to arguments, results to messages."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from meshgen.errors import InvalidValueError
from meshgen.runtime.clientstatus import is_fault, make_status, status_of
from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.instance import Instance
from meshgen.runtime.madecalls import end_calls, end_stream
from meshgen.runtime.statuserror import StatusError
from meshgen.serve.context import current_request
from meshgen.spec import ServiceSpec
from meshgen.typed.convert import Converter
from meshgen.typed.deployment import TypedDeployment, typed_deployment
from meshgen.typed.lockfile import read_lock
from meshgen.types import Buffer, RequestContext

logger = logging.getLogger("meshgen")


def open_typed(
    spec: ServiceSpec, target: Callable[..., Any], instance: Instance, lock_file: Path | None
) -> TypedMethods:
    """The typed RPCs of a replica, by the hints of its class or as its deployer has read them.

    Raises:
        OptionError: The lock cannot be read, or a message ran out of numbers.
    """
    if spec.typed is not None:
        return TypedMethods(instance, pickle.loads(spec.typed))
    lock = None
    if lock_file is not None and lock_file.exists():
        lock = read_lock(lock_file.read_text(encoding="utf-8"))
    return TypedMethods(instance, typed_deployment(target, spec.stub.id, lock))


class TypedMethods:
    """Runs an instance's methods for messages, and tells of errors what clients may know."""

    def __init__(self, instance: Instance, typed: TypedDeployment) -> None:
        self._instance = instance
        self._id = typed.layout.id
        self._converters = typed.converters()
        # By the path of their RPCs, as `/package.Service/Rpc`.
        self.by_path = {converter.path: converter for converter in self._converters.values()}

    async def call(self, name: str, message: Buffer, request: RequestContext) -> bytes:
        """Run a method on a request's message; the response's.

        Raises:
            StatusError: Anything failed.
        """
        current_request.set(request)
        try:
            converter = self._converter(name)
            args, kwargs = _arguments(converter, message)
            result = await self._instance.call(name, args, kwargs)
            response: bytes = converter.response(result).SerializeToString()
            return response
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: B036 - user code: SystemExit too is an error to its caller
            failed = self._told(exc, name, request)
        finally:
            if request.calls:
                end_calls(request.calls)
        # Not from in there: what it is raised as keeps nothing of the user's frames.
        raise failed

    async def stream(
        self, name: str, message: Buffer, request: RequestContext
    ) -> AsyncGenerator[bytes, None]:
        """Run a generator method on a request's message; a message for each item.

        Raises:
            StatusError: Anything failed.
        """
        current_request.set(request)
        items: AsyncIterator[Any] | None = None
        try:
            converter = self._converter(name)
            args, kwargs = _arguments(converter, message)
            items = await self._instance.iterate(name, args, kwargs)
            async for item in items:
                yield converter.response(item).SerializeToString()
            return
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as exc:  # noqa: B036 - user code, as above
            failed = self._told(exc, name, request)
        finally:
            await end_stream(items, request)
        raise failed

    def _converter(self, name: str) -> Converter:
        found = self._converters.get(name)
        if found is None:
            status = make_status("UNIMPLEMENTED", f"{self._id} has no typed RPC for {name!r}", "")
            raise StatusError(status.SerializeToString())
        return found

    def _told(self, error: BaseException, method: str, request: RequestContext) -> StatusError:
        """The error as it leaves this process; what else is known of it goes to the log."""
        if isinstance(error, StatusError):
            return error
        status = status_of(error, request.request_id)
        if is_fault(status):
            where, text = f"{self._id}.{method}", format_user_traceback(error)
            logger.error("request %s of %s failed:\n%s", request.request_id, where, text)
        return StatusError(status.SerializeToString())


def _arguments(converter: Converter, message: Buffer) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        request = converter.request_class.FromString(bytes(message))
    except DecodeError as exc:
        name = converter.request_class.DESCRIPTOR.full_name
        raise InvalidValueError(f"what was sent is no {name}") from exc
    return converter.arguments(request)
