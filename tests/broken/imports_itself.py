"""The module needs itself before it is there, as in a circle of imports.

error: imports_itself raised ImportError while it was imported; correct that and try again:

Traceback (most recent call last):
  File "tests/broken/imports_itself.py", line 12, in <module>
    from imports_itself import Model
ImportError: cannot import name 'Model' from partially initialized module 'imports_itself' (most
  likely due to a circular import) (tests/broken/imports_itself.py)
"""

from imports_itself import Model

app = Model.bind()
