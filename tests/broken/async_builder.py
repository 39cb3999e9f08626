"""An application is put together by plain code, before any loop runs.

error: tests/broken/async_builder.py:app is an async function, and an application is built before
  any loop runs; write it with a plain def
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


async def app(arguments):
    return Model.bind()
