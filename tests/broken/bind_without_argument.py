"""What `.bind()` gets is what the constructor gets.

error: Model: it cannot be constructed with what .bind() was given: its constructor is Model(name,
  *, size): missing a required argument: 'size'; correct that call
error: Front: it cannot be constructed with what .bind() was given: its constructor is Front(model):
  multiple values for argument 'model'; correct that call
"""

from meshgen import serve


@serve.deployment
class Model:
    def __init__(self, name, *, size):
        self.name, self.size = name, size


@serve.deployment
class Front:
    def __init__(self, model):
        self.model = model


small = Model.bind("small")
app = Front.bind(small, model=small)
