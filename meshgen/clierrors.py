"""Errors as the command line shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from meshgen.errors import (
    BreakingChangeError,
    BuildError,
    MeshError,
    OptionError,
    OptionTypeError,
    TargetError,
)

_USER_MISTAKES = (TargetError, BuildError, OptionError, OptionTypeError)


class _Failure(click.ClickException):
    """An error as plain sentences on stderr."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.problems = error.problems if isinstance(error, BuildError) else (str(error),)

    def show(self, file: object = None) -> None:
        """Print each problem by itself."""
        for problem in self.problems:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {problem}", err=True)


class _Mistake(_Failure):
    """One that the user can mend."""

    exit_code = 2


@contextmanager
def plain_errors() -> Iterator[None]:
    """Our own errors end the command with their sentences instead of a traceback."""
    try:
        yield
    except BreakingChangeError as exc:  # a check that failed, as those of other tools
        raise _Failure(exc) from exc
    except _USER_MISTAKES as exc:
        raise _Mistake(exc) from exc
    except (MeshError, OSError) as exc:
        raise _Failure(exc) from exc
