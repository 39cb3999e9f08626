"""The function that builds the application needs an argument that was not given.

error: tests/broken/builder_raises.py:app raised KeyError instead of building an application;
  correct it or its arguments:

Traceback (most recent call last):
  File "tests/broken/builder_raises.py", line 14, in app
    return arguments["size"]
KeyError: 'size'
"""


def app(arguments):
    return arguments["size"]
