"""The module was imported under the name that the application should have.

error: tests/broken/module_as_application.py:app is no application but the module meshgen.serve;
  name what Deployment.bind() returned, as in app = Model.bind()
"""

from meshgen import serve as app


@app.deployment
class Model:
    pass


model = Model.bind()
