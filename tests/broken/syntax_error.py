# error: syntax_error cannot be imported: '(' was never closed
# error: syntax_error.py, line 5); correct that line:
# error:     app = Model.bind(
from meshgen import serve
app = Model.bind(
