"""Why a hint has no place in Protobuf."""

from __future__ import annotations


class UntypableError(Exception):
    """Internal to this package: the text ends a sentence that begins with what the hint is of.

    It never reaches users as an exception: `methods` collects the sentences.
    """
