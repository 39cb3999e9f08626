# error: builder_raises.py:app raised KeyError instead of building an application; correct it
# error: KeyError: 'size'


def app(arguments):
    return arguments["size"]
