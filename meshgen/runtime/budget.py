"""How often a process may send calls again that may have run."""

from __future__ import annotations

# gRPC's retryThrottling: so many tokens at most, what a failure takes, what a success gives, and
# above how many tokens calls are sent again.
_TOKENS = 10.0
_FAILURE = 1.0
_SUCCESS = 0.1
_ENOUGH = _TOKENS / 2
# How often one call is sent at most: one that kills its replica must not kill all of them.
MOST_ATTEMPTS = 5


class Budget:
    """A bucket of tokens, so that failing replicas do not multiply the load of the others.

    A connection that ends takes one token, however many calls were there: those were part of the
    load already, and a replica with a hundred of them is one failure. So does each second copy of
    a call that takes long. With more than one such event for ten answers, nothing is sent again.
    """

    def __init__(self) -> None:
        self._tokens = _TOKENS

    def earn(self, answers: int) -> None:
        """So many calls were answered."""
        self._tokens = min(_TOKENS, self._tokens + answers * _SUCCESS)

    def spend(self) -> None:
        """A connection was lost, or a call is sent a second time."""
        self._tokens = max(0.0, self._tokens - _FAILURE)

    @property
    def allows(self) -> bool:
        """Whether calls may be sent again."""
        return self._tokens > _ENOUGH
