"""The function that builds the application returns something else.

error: tests/broken/builder_returns_text.py:app is a function that returned 'str' instead of an
  application; return what Deployment.bind() returned
"""


def app(arguments):
    return "hello"
