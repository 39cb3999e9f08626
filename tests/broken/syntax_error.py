"""A bracket is not closed.

error: syntax_error cannot be imported: '(' was never closed (tests/broken/syntax_error.py, line 9);
  correct that line:
    app = Model.bind(
"""

from meshgen import serve
app = Model.bind(
