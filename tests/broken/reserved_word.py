"""Words of .proto files get `_service` at their end, and so two names are one package.

error: import: this name becomes the package 'import_service', as ImportService does; give one of
  them another with .options(name=...)
"""

from meshgen import serve


@serve.deployment(name="import")
class Model:
    def __init__(self, other):
        self.other = other


@serve.deployment
class ImportService:
    pass


app = Model.bind(ImportService.bind())
