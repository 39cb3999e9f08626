"""`@serve.deployment`, `.options()` and `.bind()`: what composing an application looks like."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from meshgen import serve
from meshgen.errors import MeshError, OptionError, OptionTypeError


class Model:
    """A class to deploy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


def double(x: int) -> int:
    """Serve as a function to deploy."""
    return 2 * x


@pytest.mark.parametrize(
    ("decorate", "name"),
    [
        (serve.deployment, "Model"),
        (serve.deployment(), "Model"),
        (serve.deployment(name="Other"), "Other"),
        (serve.deployment(num_replicas=2), "Model"),
    ],
    ids=["bare", "called", "named", "with options"],
)
def test_the_decorator_works_bare_called_and_with_options(decorate: Any, name: str) -> None:
    """Three spellings, one Deployment."""
    made = decorate(Model)
    assert isinstance(made, serve.Deployment)
    assert (made.name, made.func_or_class) == (name, Model)
    assert repr(made) == f"Deployment(name={name})"


def test_functions_are_deployments_too() -> None:
    """Named after the function, bound without arguments."""
    made = serve.deployment(double)
    assert (made.name, made.bind().deployment) == ("double", made)


def test_properties_show_the_options() -> None:
    """As users read them in Ray Serve."""
    made = serve.deployment(
        Model,
        num_replicas=2,
        max_ongoing_requests=3,
        max_queued_requests=4,
        user_config={"a": 1},
    )
    assert (made.num_replicas, made.max_ongoing_requests, made.max_queued_requests) == (2, 3, 4)
    assert made.user_config == {"a": 1}


def test_options_make_a_changed_copy() -> None:
    """The deployment itself stays as it is; only what is given changes."""
    first = serve.deployment(Model, num_replicas=2)
    second = first.options(name="Second", max_ongoing_requests=1)
    assert (first.name, first.max_ongoing_requests) == ("Model", 5)
    assert (second.name, second.num_replicas, second.max_ongoing_requests) == ("Second", 2, 1)
    third: serve.Deployment[..., Any] = first.options(double)
    assert (third.func_or_class, third.name) == (double, "Model")


def test_each_bind_is_an_application_of_its_own() -> None:
    """Identity matters: two binds are two services, even with equal arguments."""
    deployment: serve.Deployment[..., Any] = serve.deployment(Model)
    first, second = deployment.bind(1, x=2), deployment.bind(1, x=2)
    assert first != second and first is not second
    assert (first.args, first.kwargs, first.deployment) == ((1,), {"x": 2}, deployment)
    assert repr(first) == "Application(Model)"


@pytest.mark.parametrize("call", [lambda d: d(), lambda d: d(1, x=2)])
def test_a_deployment_cannot_be_called(call: Any) -> None:
    """The sentence names the two steps that were meant."""
    with pytest.raises(OptionError, match=r"bind it \(Model\.bind\(\.\.\.\)\) and call it through"):
        call(serve.deployment(Model))


def test_an_application_has_no_remote() -> None:
    """The commonest slip of newcomers gets its own sentence, and stays an AttributeError."""
    app = serve.deployment(Model).bind()
    with pytest.raises(AttributeError, match=r"run it first \(handle = serve\.run\(app\)\)"):
        app.remote()
    with pytest.raises(AttributeError, match="'Application' object has no attribute 'other'"):
        _ = app.other
    assert not hasattr(app, "remote")
    assert copy.copy(app).deployment is app.deployment


@pytest.mark.parametrize(
    "target",
    [Model(), 3, "counter", serve.deployment(Model), serve.deployment(Model).bind()],
    ids=["instance", "number", "positional name", "deployment", "application"],
)
def test_only_classes_and_functions_can_be_deployed(target: Any) -> None:
    """A name given by position is refused too, where Ray Serve forgets it silently."""
    with pytest.raises(OptionTypeError, match="is for classes and functions, not for") as caught:
        serve.deployment(target)
    assert "options such as the name go by keyword" in str(caught.value)
    with pytest.raises(OptionTypeError, match="is for classes and functions, not for"):
        serve.deployment(Model).options(target)


@pytest.mark.parametrize(("name", "error"), [(3, TypeError), ("", ValueError), ("a#b", ValueError)])
def test_a_name_is_a_string_without_hash(name: Any, error: type[Exception]) -> None:
    """In the decorator and in `.options`."""
    with pytest.raises(error, match="a deployment's name must") as caught:
        serve.deployment(Model, name=name)
    assert isinstance(caught.value, MeshError)
    with pytest.raises(error, match="a deployment's name must"):
        serve.deployment(Model).options(name=name)


@pytest.mark.parametrize("config", [{}, {"a": 1}, 0])
def test_a_function_has_no_user_config(config: Any) -> None:
    """It has no `reconfigure` to give it to; said where it is written, by either way."""
    with pytest.raises(OptionError, match="double is a function: user_config needs a class"):
        serve.deployment(double, user_config=config)
    with pytest.raises(OptionError, match="double is a function: user_config needs a class"):
        serve.deployment(double).options(user_config=config)


def test_an_unknown_option_is_refused_everywhere() -> None:
    """As a TypeError, at the decorator and at `.options`."""
    given: Any = {"num_replica": 2}
    with pytest.raises(OptionTypeError, match="has no option 'num_replica'"):
        serve.deployment(Model, **given)
    with pytest.raises(OptionTypeError, match="has no option 'num_replica'"):
        serve.deployment(Model).options(**given)


def test_the_serve_module_names_what_it_has() -> None:
    """A misspelt name is an AttributeError at once, without loading what runs a mesh."""
    with pytest.raises(AttributeError, match=r"'meshgen\.serve' has no attribute 'rum'"):
        _ = serve.rum
