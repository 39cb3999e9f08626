"""What a handle knows of its deployment: which methods there are and which calls fit them."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshgen.errors import MeshError, SignatureError, UnknownMethodError
from meshgen.stub import DeploymentStub, MethodStub, Parameter, method_stubs
from meshgen.tasks.places import ReplicaPlace
from meshgen.types import DeploymentID

_ID = DeploymentID("shop", "Cart")


def _stub(target: Callable[..., Any], **given: Any) -> DeploymentStub:
    return DeploymentStub(
        id=_ID,
        service="cart",
        methods=method_stubs(target),
        is_function=not inspect.isclass(target),
        **given,
    )


def _fits(method: MethodStub, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    try:
        method.check(_ID, args, kwargs)
    except SignatureError:
        return False
    return True


class _Tool:
    """A callable object: no descriptor, so it gets no `self`."""

    def __call__(self, tool_argument: int) -> int:
        return tool_argument


def _gather(method: Callable[..., Iterator[int]]) -> Callable[..., list[int]]:
    @functools.wraps(method)
    def gathered(*args: Any, **kwargs: Any) -> list[int]:
        return list(method(*args, **kwargs))

    return gathered


class _Base:
    def inherited(self, a: int) -> int:
        return a

    @property
    def computed(self) -> int:
        raise AssertionError("a property is not read while the graph is built")


class _Every(_Base):
    """One of each kind of member."""

    constant = 3
    tool = _Tool()
    length = len
    half = functools.partial(max, 0)

    class Nested:
        """A class is no method."""

    def plain(self, a: int, b: int = 2) -> int:
        return a + b

    async def coroutine(self, a: int) -> int:
        return a

    def generator(self, n: int) -> Iterator[int]:
        yield n

    async def async_generator(self, n: int) -> AsyncIterator[int]:
        yield n

    @_gather
    def gathered(self, n: int) -> Iterator[int]:
        yield n

    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    @functools.lru_cache  # noqa: B019  # the kind of member is what matters
    def cached(self, a: int) -> int:
        return a

    filled = functools.partialmethod(plain, 1)

    def _private(self) -> None: ...


def test_every_kind_of_method_is_found_and_nothing_else() -> None:
    """Public and single-underscore callables, inherited ones too; no properties, no classes."""
    assert set(method_stubs(_Every)) == {
        *("plain", "coroutine", "generator", "async_generator", "gathered", "inherited"),
        *("static", "of_class", "cached", "filled", "tool", "length", "half", "_private"),
    }


@pytest.mark.parametrize(
    ("name", "args", "fits"),
    [
        ("plain", (1,), True),
        ("plain", (), False),
        ("plain", (1, 2, 3), False),
        ("inherited", (1,), True),
        ("inherited", (), False),
        ("coroutine", (1, 2), False),
        ("static", (1,), True),
        ("static", (), False),
        ("of_class", (1,), True),
        ("of_class", (), False),
        ("cached", (1,), True),
        ("cached", (), False),
        ("tool", (1,), True),
        ("tool", (), False),
        ("length", ([],), True),
        ("length", (), False),
        ("half", (1,), True),
        ("filled", (2,), True),
        ("filled", (2, 3), False),
    ],
)
def test_self_is_counted_only_where_python_passes_it(
    name: str, args: tuple[Any, ...], fits: bool
) -> None:
    """A call fits exactly if it would on an instance."""
    assert _fits(method_stubs(_Every)[name], args, {}) == fits


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("generator", True),
        ("async_generator", True),
        ("gathered", False),
        ("plain", False),
        ("coroutine", False),
    ],
)
def test_only_what_is_a_generator_itself_streams(name: str, streams: bool) -> None:
    """A decorator that gathers a generator's items makes a unary method of it."""
    assert method_stubs(_Every)[name].streams == streams


class _Meta(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class _Constructed(metaclass=_Meta):
    def work(self) -> None: ...


def test_a_metaclass_call_does_not_make_instances_callable() -> None:
    """Every class can be called; that makes no `__call__` of its instances."""
    assert set(method_stubs(_Constructed)) == {"work"}
    assert set(method_stubs(_Tool)) == {"__call__"}


def test_a_descriptor_that_fails_on_the_class_is_no_method() -> None:
    """Attributes that exist on instances only do not break the build."""

    class OnInstances:
        def __get__(self, instance: object, owner: type) -> int:
            if instance is None:
                raise AttributeError("only on instances")
            return 1

    class Holder:
        attribute = OnInstances()

        def work(self) -> None: ...

    assert set(method_stubs(Holder)) == {"work"}


@pytest.mark.parametrize("name", ["anything", "__call__"])
def test_a_function_deployment_ignores_the_method_name(name: str) -> None:
    """As in Ray Serve: `handle.whatever.remote(x)` calls the function."""

    def double(x: int) -> int:
        return 2 * x

    method = _stub(double).method(name)
    assert method.name == "__call__"
    assert _fits(method, (1,), {}) and not _fits(method, (), {})


def test_a_misspelt_method_is_refused_with_a_suggestion() -> None:
    """Both a MeshError and an AttributeError, as it would be on the object itself."""
    with pytest.raises(UnknownMethodError, match="'inhertied'.*Did you mean 'inherited'") as caught:
        _stub(_Every).method("inhertied")
    assert isinstance(caught.value, MeshError) and isinstance(caught.value, AttributeError)


def test_an_unknown_method_lists_what_there_is() -> None:
    """Where nothing is close, all of it is shown."""
    with pytest.raises(UnknownMethodError, match="shop/Cart has no method 'xyz'. It has: work"):
        _stub(_Constructed).method("xyz")
    with pytest.raises(UnknownMethodError, match="has no method '__call__'"):
        _stub(_Constructed).method("__call__")


def test_a_class_with_getattr_answers_to_any_name() -> None:
    """Its methods cannot be listed, so nothing is refused here."""
    stub = _stub(_Constructed, open_ended=True)
    assert _fits(stub.method("made_up"), (1, 2), {"three": 3})
    assert stub.method("work").parameters == ()


def test_a_call_that_cannot_bind_says_what_the_signature_is() -> None:
    """Both a MeshError and a TypeError; names deployment, method, signature and reason."""
    method = method_stubs(_Every)["plain"]
    with pytest.raises(SignatureError) as caught:
        method.check(_ID, (), {"c": 1})
    assert isinstance(caught.value, MeshError) and isinstance(caught.value, TypeError)
    assert "shop/Cart.plain(a, b=...)" in str(caught.value)
    assert "missing a required argument: 'a'" in str(caught.value)


def test_an_unreadable_signature_accepts_every_call() -> None:
    """The far side knows better."""
    assert _fits(MethodStub(name="odd"), (1, 2), {"x": 3})


_KINDS = [
    "POSITIONAL_ONLY",
    "POSITIONAL_OR_KEYWORD",
    "VAR_POSITIONAL",
    "KEYWORD_ONLY",
    "VAR_KEYWORD",
]


@st.composite
def _signatures(draw: st.DrawFn) -> tuple[Parameter, ...]:
    """Any signature that Python allows, of up to eight parameters."""
    kinds = [draw(st.sampled_from(_KINDS)) for _ in range(draw(st.integers(0, 8)))]
    parameters, defaulted, seen = list[Parameter](), False, set[str]()
    for index, kind in enumerate(sorted(kinds, key=_KINDS.index)):
        if kind.startswith("VAR") and kind in seen:
            continue
        seen.add(kind)
        required = not kind.startswith("VAR") and draw(st.booleans())
        if kind.startswith("POSITIONAL"):
            required = required and not defaulted
            defaulted = defaulted or not required
        parameters.append(Parameter(name=f"p{index}", kind=kind, required=required))
    return tuple(parameters)


_ONLY = Parameter(name="p0", kind="POSITIONAL_ONLY", required=False)


@example((_ONLY, Parameter(name="p1", kind="VAR_KEYWORD", required=False)), [], {"p0": None})
@given(
    _signatures(),
    st.lists(st.none(), max_size=6),
    st.dictionaries(st.sampled_from([f"p{n}" for n in range(9)]), st.none(), max_size=6),
)
def test_check_agrees_with_python_on_every_call(
    parameters: tuple[Parameter, ...], args: list[None], kwargs: dict[str, None]
) -> None:
    """The quick path and the slow one accept exactly the calls that Python binds."""
    function = _function_of(parameters)
    try:
        function(*args, **kwargs)
        expected = True
    except TypeError:
        expected = False
    assert _fits(method_stubs(function)["__call__"], args, kwargs) == expected


@given(_signatures())
def test_a_signature_read_from_python_is_the_one_written(parameters: tuple[Parameter, ...]) -> None:
    """Names, kinds and which are required survive; the defaults themselves do not travel."""
    stub = method_stubs(_function_of(parameters))["__call__"]
    assert stub.parameters == parameters
    copy = pickle.loads(pickle.dumps(stub))
    assert copy == stub


def _function_of(parameters: Sequence[Parameter]) -> Callable[..., None]:
    """A real function of this signature, so that Python itself is the reference."""
    parts, star = [], False
    for index, p in enumerate(parameters):
        if p.kind == "KEYWORD_ONLY" and not star:
            parts.append("*")
            star = True
        star = star or p.kind == "VAR_POSITIONAL"
        prefix = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(p.kind, "")
        optional = not p.required and not prefix
        parts.append(f"{prefix}{p.name}{'=None' if optional else ''}")
        following = parameters[index + 1].kind if index + 1 < len(parameters) else ""
        if p.kind == "POSITIONAL_ONLY" and following != "POSITIONAL_ONLY":
            parts.append("/")
    namespace: dict[str, Any] = {}
    exec(f"def made({', '.join(parts)}): pass", namespace)
    function: Callable[..., None] = namespace["made"]
    return function


def test_stubs_of_one_deployment_are_one_key() -> None:
    """Routers and caches are keyed by stub."""
    assert len({_stub(_Every), _stub(_Every)}) == 1


def test_stubs_with_the_same_methods_have_the_same_key() -> None:
    """In every process, and for what lives at one place only."""
    stub = _stub(_Tool)
    assert pickle.loads(pickle.dumps(_stub(_Tool))).key == stub.key
    assert stub.at(ReplicaPlace.known("it", "0")).key == stub.key


def test_other_methods_or_another_deployment_make_another_key() -> None:
    """Connections are made for one of them."""
    stub = _stub(_Tool)
    more = replace(stub, methods={**stub.methods, "more": MethodStub(name="more")})
    moved = replace(stub, id=DeploymentID("other", "Cart"))
    promising = replace(stub, methods={"__call__": MethodStub(name="__call__", idempotent=True)})
    assert len({each.key for each in (stub, more, moved, promising)}) == 4
