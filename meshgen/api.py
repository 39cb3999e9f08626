"""`serve.run` and its companions: the top of the public API, loaded on first use."""

from __future__ import annotations

import logging
import threading
from typing import Any, TypeVar

from meshgen.connection import Connection, is_asked_for
from meshgen.driver import Driver
from meshgen.errors import NotServingError, OptionError, OptionTypeError
from meshgen.graph import build_graph
from meshgen.serve.config import EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.serve.context import current_caller, current_replica, process, scoped_caller
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.schema import ServeStatus
from meshgen.settings import Settings
from meshgen.types import Caller, DeploymentID

logger = logging.getLogger("meshgen")

T = TypeVar("T", HTTPOptions, GRPCOptions, EdgeOptions)


class _State:
    """The driver of this program, made by the first `run` or `start`."""

    driver: Driver | None = None
    # To the mesh of `meshgen connect`, made by the first handle.
    connection: Connection | None = None
    lock = threading.Lock()


def start(
    http_options: HTTPOptions | dict[str, object] | None = None,
    grpc_options: GRPCOptions | dict[str, object] | None = None,
    edge_options: EdgeOptions | dict[str, object] | None = None,
) -> None:
    """Prepare to run applications; needed only to say where HTTP and gRPC are served, and for whom.

    Without a port in `grpc_options` there is no gRPC.

    Raises:
        OptionError: A value cannot work.
        OptionTypeError: There is no such option.
    """
    with _State.lock:
        if _State.driver is not None:
            logger.warning("serve.start: a mesh runs already; its options stay as they are")
            return
        _State.driver = Driver(
            _options(HTTPOptions, "http_options", http_options),
            _options(GRPCOptions, "grpc_options", grpc_options),
            _options(EdgeOptions, "edge_options", edge_options),
        )


def _options(cls: type[T], name: str, given: T | dict[str, object] | None) -> T:
    if isinstance(given, cls):
        return given
    try:
        return cls(**(given or {}))  # type: ignore[arg-type]  # checked by the class
    except TypeError as exc:
        raise OptionTypeError(f"{name}: {exc}") from None


def run(
    target: Application,
    *,
    blocking: bool = False,
    name: str = "default",
    route_prefix: str | None = "/",
) -> DeploymentHandle:
    """Run an application as local processes and return its ingress's handle when it is ready.

    An application of the same name is replaced, replica by replica and with no call lost; if only
    `user_config`s are new, its replicas are reconfigured instead. If that fails, it stays.

    HTTP is served under `route_prefix`, or not at all where that is None. With `blocking`, return
    only after Ctrl-C. An event loop that this is called on, such as a notebook's, stands still
    until the application runs.

    Raises:
        BuildError: The graph cannot become services; lists every reason.
        DeployError: A constructor or `reconfigure` failed (with its traceback), or the HTTP port is
            taken.
        OptionError: The name or the route cannot be used.
        OptionTypeError: `target` is no application.
    """
    graph = build_graph(target, app=name)
    with _State.lock:
        if _State.driver is None:
            _State.driver = Driver(HTTPOptions())
        driver = _State.driver
    handle = driver.deploy(graph, route_prefix)
    if blocking:
        _block()
    return handle


def start_tasks(caller: Caller | None) -> bool:
    """Add the task service to the mesh of `caller`, if this program runs it; start one for None."""
    with _State.lock:
        if _State.driver is None and caller is None:
            _State.driver = Driver(HTTPOptions())
        driver = _State.driver
    if driver is None or (caller is not None and driver.caller is not caller):
        return False
    driver.start_tasks()
    return True


def init(address: str | None = None, **options: Any) -> None:
    """Start the local mesh; needed by nobody, as the first task or application does the same.

    What Ray's `init` takes beyond that is accepted, and without effect.
    """
    given = sorted({**({"address": address} if address else {}), **options})
    without_effect = [name for name in given if name != "ignore_reinit_error"]
    if without_effect:
        logger.warning("meshgen.init: no effect has %s", ", ".join(without_effect))
    if is_initialized():
        if not options.get("ignore_reinit_error"):
            logger.warning("meshgen.init: a mesh runs already; it stays as it is")
        return
    start()


def is_initialized() -> bool:
    """Whether code of this process has a mesh."""
    return (scoped_caller.get() or process.caller) is not None


def _block() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        shutdown()


def shutdown() -> None:
    """Stop every application and process; nothing happens if none runs."""
    with _State.lock:
        driver, _State.driver = _State.driver, None
    if driver is not None:
        driver.shutdown()


def delete(name: str) -> None:
    """Stop an application; nothing happens if there is none of that name."""
    if _State.driver is not None:
        _State.driver.delete(name)


def status() -> ServeStatus:
    """How every application, deployment and replica is."""
    return ServeStatus() if _State.driver is None else _State.driver.status()


def _caller() -> Caller:
    """Whoever carries out calls here; where `meshgen connect` runs this, its connection."""
    try:
        return current_caller()
    except NotServingError:
        if not is_asked_for():
            raise
    with _State.lock:
        if _State.connection is None:
            _State.connection = Connection(Settings.from_environment())
    return _State.connection.caller


def get_app_handle(name: str) -> DeploymentHandle:
    """The handle of an application's ingress.

    Raises:
        NoSuchApplicationError: There is no application of that name.
        NotServingError: No mesh runs here.
    """
    caller = _caller()
    return DeploymentHandle(caller.ingress_of(name), caller=caller)


def get_deployment_handle(deployment_name: str, app_name: str | None = None) -> DeploymentHandle:
    """The handle of a deployment; inside of one, of its own application by default.

    Raises:
        NoSuchApplicationError: There is no such deployment.
        OptionError: Outside of a deployment no application was named.
        NotServingError: No mesh runs here.
    """
    replica = current_replica.get() or process.replica
    app = app_name or (replica.app_name if replica else None)
    if app is None:
        raise OptionError(
            "outside of a deployment, name the application: "
            f"get_deployment_handle({deployment_name!r}, app_name=...)"
        )
    caller = _caller()
    return DeploymentHandle(caller.find(DeploymentID(app, deployment_name)), caller=caller)
