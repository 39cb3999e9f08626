"""An object is not deployed, but its class.

error: deployed_object cannot be imported: @serve.deployment is for classes and functions, not for
  Model(size=3); options such as the name go by keyword (tests/broken/deployed_object.py, line 19);
  correct that line:
    app = serve.deployment(Model()).bind()
"""

from dataclasses import dataclass

from meshgen import serve


@dataclass
class Model:
    size: int = 3


app = serve.deployment(Model()).bind()
