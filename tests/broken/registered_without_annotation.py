"""Nothing says what the class becomes.

error: registered_without_annotation cannot be imported: to_message of Celsius has no return
  annotation, and so nothing says what a Celsius is in Protobuf; write one, such as `-> dict[str,
  float]` (tests/broken/registered_without_annotation.py, line 21); correct that line:
    typed.register(Celsius, to_message, Celsius)
"""

from meshgen import serve, typed


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


def to_message(celsius):
    return celsius.degrees


typed.register(Celsius, to_message, Celsius)


@serve.deployment
class Model:
    def __call__(self, temperature: Celsius) -> float:
        return temperature.degrees


app = Model.bind()
