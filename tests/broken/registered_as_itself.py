"""A class cannot become what it is.

error: registered_as_itself cannot be imported: to_message of Celsius returns a Celsius again;
  return what has a mapping of its own, such as a dataclass or a dict[str, float]
  (tests/broken/registered_as_itself.py, line 20); correct that line:
    typed.register(Celsius, same, same)
"""

from meshgen import serve, typed


class Celsius:
    pass


def same(celsius: Celsius) -> Celsius:
    return celsius


typed.register(Celsius, same, same)


@serve.deployment
class Model:
    def __call__(self, temperature: Celsius) -> float:
        return 0.0


app = Model.bind()
