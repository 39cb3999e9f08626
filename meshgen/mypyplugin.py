"""A plugin for mypy, which does not know by itself what class decorators return.

    [tool.mypy]
    plugins = ["meshgen.mypyplugin"]

With it, a class below `@serve.deployment` has `bind` and `options`. Pyright needs none.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import ARG_STAR, ARG_STAR2, Argument, Var
from mypy.plugin import ClassDefContext, Plugin
from mypy.plugins.common import add_method_to_class
from mypy.types import AnyType, Type, TypeOfAny

_MODULE = "meshgen.serve.deployment"
# Each method's result, and how many type arguments that has.
_RETURNS = {"bind": (f"{_MODULE}.Application", 0), "options": (f"{_MODULE}.Deployment", 2)}


class MeshgenPlugin(Plugin):
    """Tells mypy of `@serve.deployment`."""

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        """What to do with classes below a decorator of this name."""
        return _add_methods if fullname == f"{_MODULE}.deployment" else None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks a plugin's module for."""
    return MeshgenPlugin


def _add_methods(context: ClassDefContext) -> bool:
    anything: Type = AnyType(TypeOfAny.explicit)
    arguments = [
        Argument(Var("args", anything), anything, None, ARG_STAR),
        Argument(Var("kwargs", anything), anything, None, ARG_STAR2),
    ]
    for name, (returned, count) in _RETURNS.items():
        result = context.api.named_type_or_none(returned, [anything] * count)
        if result is None:
            return False  # not analyzed yet: mypy asks again
        if name not in context.cls.info.names:
            add_method_to_class(
                context.api, context.cls, name, arguments, result, is_classmethod=True
            )
    return True
