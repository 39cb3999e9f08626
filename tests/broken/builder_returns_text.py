# error: builder_returns_text.py:app is a function that returned 'str' instead of an application


def app(arguments):
    return "hello"
