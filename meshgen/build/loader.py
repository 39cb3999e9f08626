"""From `module:attribute` on a command line to a bound application."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from meshgen.build.importing import (
    MISTAKES,
    import_user_module,
    locate,
    mistake,
    user_traceback,
)
from meshgen.compat import install, is_rays
from meshgen.errors import TargetError
from meshgen.naming import ProtoName, ServiceName
from meshgen.serve.deployment import Application, Deployment

# Module names that say nothing about the application.
_NAMELESS = frozenset({"app", "main", "serve_app", "__init__"})
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An application and where it came from: `source_root` is the folder that code is copied of.

    With `ray_compat`, its processes have to answer imports of `ray` too.
    """

    application: Application
    app_name: str
    source_root: Path
    module: str
    ray_compat: bool


def load_target(
    target: str,
    arguments: Mapping[str, str] = _NOTHING,
    *,
    name: str = "",
    ray_compat: bool = False,
) -> Loaded:
    """Load `module:attribute` or `path/to/file.py:attribute`.

    The attribute is an application, or a function of one parameter that builds one of `arguments`.
    With `ray_compat`, imports of `ray` are answered with meshgen, from here on in this process.

    Raises:
        TargetError: It does not lead to an application, or nothing can be named after it.
    """
    reference, colon, attribute = target.rpartition(":")
    if not colon or not reference or not attribute:
        raise TargetError(
            f"{target!r} is no target: name the module and the application in it, "
            "as in app:app or path/to/app.py:app"
        )
    source = locate(reference)
    if ray_compat:
        install()
    module = import_user_module(source)
    application = _as_application(target, _find(module, attribute), arguments)
    return Loaded(
        application=application,
        app_name=_app_name(name, source.name, source.root),
        source_root=source.root,
        module=source.name,
        ray_compat=ray_compat,
    )


def parse_arguments(given: Sequence[str]) -> dict[str, str]:
    """Read `name=value` arguments.

    Raises:
        TargetError: One has no name or no '=', or a name is there twice.
    """
    read: dict[str, str] = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier():
            raise TargetError(f"{argument!r} is no argument: write name=value, as in size=large")
        if name in read:
            raise TargetError(f"the argument {name!r} is given twice; give it once")
        read[name] = value
    return read


def _find(module: ModuleType, attribute: str) -> Any:
    if hasattr(module, attribute):
        return getattr(module, attribute)
    there = sorted(name for name, value in vars(module).items() if isinstance(value, Application))
    close = difflib.get_close_matches(attribute, vars(module), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    has = f"its applications are {', '.join(there)}" if there else "it has no applications"
    raise TargetError(f"{module.__name__} has no {attribute!r}{hint} ({has})")


def _as_application(target: str, found: Any, arguments: Mapping[str, str]) -> Application:
    if isinstance(found, Application):
        if arguments:
            raise TargetError(
                f"{target} is an application that is already bound and takes no arguments, but "
                f"{', '.join(arguments)} was given; name a function that builds one instead"
            )
        return found
    if isinstance(found, Deployment):
        raise TargetError(
            f"{target} is a deployment that was not bound; did you mean {found.name}.bind()?"
        )
    if is_rays(type(found).__module__):
        raise TargetError(
            f"{target} is an object of Ray, which is installed here; did you mean --ray-compat, "
            "which runs source for Ray on meshgen?"
        )
    if inspect.isfunction(found):
        return _from_builder(target, found, arguments)
    raise TargetError(
        f"{target} is no application but {_kind(found)}; "
        "name what Deployment.bind() returned, as in app = Model.bind()"
    )


def _kind(found: Any) -> str:
    if isinstance(found, ModuleType):
        return f"the module {found.__name__}"
    return f"the class {found.__name__}" if isinstance(found, type) else f"{type(found).__name__!r}"


def _from_builder(
    target: str, function: Callable[..., Any], arguments: Mapping[str, str]
) -> Application:
    parameters = list(inspect.signature(function).parameters.values())
    model = _annotation(function, parameters[0]) if len(parameters) == 1 else None
    if model is None:
        raise TargetError(
            f"{target} is a plain function where a bound application was meant; decorate it with "
            "@serve.deployment and bind it, or give it exactly one parameter (a dict of its "
            "name=value arguments, or a pydantic model) and return an application"
        )
    if inspect.iscoroutinefunction(function):
        raise TargetError(
            f"{target} is an async function, and an application is built before any loop runs; "
            "write it with a plain def"
        )
    try:
        built = function(_read(target, model, arguments))
    except TargetError:
        raise
    except MISTAKES as exc:
        raise TargetError(f"{target} built no application: {mistake(exc)}") from exc
    except (Exception, SystemExit) as exc:
        raise TargetError(
            f"{target} raised {type(exc).__name__} instead of building an application; "
            f"correct it or its arguments:\n\n{user_traceback(exc)}"
        ) from exc
    if isinstance(built, Application):
        return built
    if isinstance(built, Deployment):
        raise TargetError(
            f"{target} is a function that returned a deployment that was not bound; "
            f"did you mean {built.name}.bind()?"
        )
    raise TargetError(
        f"{target} is a function that returned {_kind(built)} instead of an application; "
        "return what Deployment.bind() returned"
    )


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any | None:
    """What the one parameter of a builder takes: `dict` or a pydantic model; None if neither."""
    try:
        hint = typing.get_type_hints(function).get(parameter.name, dict)
    except (NameError, TypeError):
        hint = dict
    if hasattr(hint, "model_validate"):
        return hint
    plain = typing.get_origin(hint) or hint
    return dict if plain in (dict, Mapping, Any) else None


def _read(target: str, model: Any, arguments: Mapping[str, str]) -> Any:
    if model is dict:
        return dict(arguments)
    try:
        return model.model_validate(dict(arguments))
    except ValueError as exc:
        raise TargetError(
            f"{target} takes other arguments than were given ({_reasons(exc)}); "
            "give each as name=value, as in size=large"
        ) from exc


def _reasons(error: ValueError) -> str:
    """What pydantic has to say of each field."""
    if not hasattr(error, "errors"):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def _app_name(given: str, module: str, root: Path) -> str:
    last = module.rpartition(".")[2]
    name = given or (last if last not in _NAMELESS else _folder_of(module, root))
    if not ServiceName(name) or not ProtoName(name):
        raise TargetError(
            f"the application cannot be called {name!r}: its name becomes a DNS and a proto name "
            "(letters, digits and '-', beginning with a letter, at most 63); "
            "give another with --name"
        )
    return name


def _folder_of(module: str, root: Path) -> str:
    """A folder may have any name: what of it can be a service's name is taken."""
    packages = module.split(".")[:-1]
    folder = packages[-1] if packages else root.name
    return ServiceName(folder) or folder
