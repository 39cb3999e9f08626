"""Methods that fail in every way."""

import asyncio
import sys
from typing import Any, NoReturn

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


class OutOfStockError(Exception):
    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(f"no {item} left")
        self.item = item
        self.left = left

    def __reduce__(self) -> Any:
        return _rebuild, (self.item, self.left)


def _rebuild(item: str, left: int) -> OutOfStockError:
    return OutOfStockError(item, left=left)


class KeywordOnlyError(Exception):
    """Pickles, but cannot be unpickled: its constructor has a keyword-only parameter."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


class BadStrError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no string")


@serve.deployment
class Shop:
    def __init__(self) -> None:
        self.alive = 0

    def ping(self) -> int:
        self.alive += 1
        return self.alive

    def value_error(self, message: str) -> NoReturn:
        raise ValueError(message)

    async def async_error(self) -> NoReturn:
        try:
            {}["missing"]
        except KeyError as exc:
            raise RuntimeError("while looking") from exc

    def out_of_stock(self) -> NoReturn:
        raise OutOfStockError("tea", left=0)

    def local_class(self) -> NoReturn:
        class LocalError(LookupError):
            pass

        raise LocalError("only here")

    def unpicklable(self) -> NoReturn:
        error = ValueError("holds a lock")
        error.lock = __import__("threading").Lock()  # type: ignore[attr-defined]
        raise error

    def keyword_only(self) -> NoReturn:
        raise KeywordOnlyError(code=7)

    def bad_str(self) -> NoReturn:
        raise BadStrError

    def group(self) -> NoReturn:
        raise ExceptionGroup("both", [ValueError("one"), OutOfStockError("tea", left=1)])

    def exit_sync(self) -> NoReturn:
        sys.exit(3)

    async def exit_async(self) -> NoReturn:
        sys.exit(3)

    async def interrupt(self) -> NoReturn:
        raise KeyboardInterrupt

    def interrupt_sync(self) -> NoReturn:
        raise KeyboardInterrupt

    def stop_iteration(self) -> NoReturn:
        raise StopIteration("done")

    async def stop_async_iteration(self) -> NoReturn:
        raise StopAsyncIteration

    async def cancelled(self) -> NoReturn:
        raise asyncio.CancelledError

    async def timeout(self) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    def noted(self) -> NoReturn:
        error = ValueError("with a note")
        error.add_note("read this")
        raise error

    def bad_result(self) -> Any:
        return (number for number in range(3))


@serve.deployment
class Counter:
    def __init__(self, shop: DeploymentHandle) -> None:
        self.shop = shop

    def all(self) -> dict[str, DeploymentHandle]:
        return {"shop": self.shop}

    async def ask(self, method: str, *args: Any) -> Any:
        return await self.shop.options(method_name=method).remote(*args)

    async def recover(self) -> str:
        try:
            await self.shop.out_of_stock.remote()
        except OutOfStockError as exc:
            return f"{exc.item} {exc.left}"
        return "nothing"


app = Counter.bind(Shop.bind())


@serve.deployment
class Broken:
    def __init__(self, reason: str) -> None:
        print("about to fail")
        raise ValueError(f"cannot load: {reason}")


@serve.deployment
class Quits:
    def __init__(self) -> None:
        sys.exit("no configuration")


@serve.deployment
class Configured:
    async def __init__(self) -> None:
        self.seen: list[Any] = []

    async def reconfigure(self, user_config: Any) -> None:
        self.seen.append(user_config)

    def configs(self) -> list[Any]:
        return self.seen
