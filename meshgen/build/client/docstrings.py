"""Docstrings of generated code, whatever users wrote in theirs."""

from __future__ import annotations


def docstring(text: str, indent: str = "    ") -> list[str]:
    """The lines of a docstring."""
    first, *rest = [_escaped(line) for line in text.splitlines()] or [""]
    if not rest:
        return [f'{indent}"""{first}"""']
    return [f'{indent}"""{first}', *(f"{indent}{line}".rstrip() for line in rest), f'{indent}"""']


def _escaped(line: str) -> str:
    printable = "".join(character for character in line if character.isprintable())
    if "\\" in printable or '"""' in printable or printable.endswith('"'):
        return printable.replace("\\", "\\\\").replace('"', '\\"')
    return printable
