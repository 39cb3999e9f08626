"""Nothing runs yet while the application is put together.

error: called_while_built cannot be imported: an Application has no 'remote': run it first (handle =
  serve.run(app)) and call the handle (Model) (tests/broken/called_while_built.py, line 19); correct
  that line:
    answer = app.remote()
"""

from meshgen import serve


@serve.deployment
class Model:
    def __call__(self):
        return 1


app = Model.bind()
answer = app.remote()
