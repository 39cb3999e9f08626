"""Lines of many processes in one terminal."""

from __future__ import annotations

import pytest

from meshgen.deploy.console import print_line


def test_a_line_says_whose_it_is_on_the_stream_it_came_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without colours where no terminal is."""
    print_line("adder#0", "hello", False)
    print_line("gateway", "oh", True)
    assert capsys.readouterr() == ("[adder#0] hello\n", "[gateway] oh\n")
