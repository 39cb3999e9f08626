# error: plain_function.py:app is a plain function where a bound application was meant; decorate it


def app(left, right):
    return left + right
