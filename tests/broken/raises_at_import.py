"""The module's own code fails.

error: raises_at_import raised ZeroDivisionError while it was imported; correct that and try again:

Traceback (most recent call last):
  File "tests/broken/raises_at_import.py", line 11, in <module>
    app = 1 / 0
ZeroDivisionError: division by zero
"""

app = 1 / 0
