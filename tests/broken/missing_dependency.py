"""A package is not installed where the mesh is built.

error: missing_dependency raised ModuleNotFoundError while it was imported; correct that and try
  again:

Traceback (most recent call last):
  File "tests/broken/missing_dependency.py", line 12, in <module>
    import there_is_no_such_package
ModuleNotFoundError: No module named 'there_is_no_such_package'
"""

import there_is_no_such_package

app = there_is_no_such_package.app
