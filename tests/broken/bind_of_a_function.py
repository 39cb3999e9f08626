"""A function has no constructor that could take arguments.

error: shout: it cannot be constructed with what .bind() was given: it is a function, and has no
  constructor; correct that call
"""

from meshgen import serve


@serve.deployment
def shout(text):
    return text.upper()


app = shout.bind("text")
