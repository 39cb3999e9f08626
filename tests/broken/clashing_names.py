# error: SpanishResponder: this name becomes the service 'spanish-responder', as
# error: as spanish_responder does; give one of them another
from meshgen import serve


@serve.deployment
class Model:
    def __init__(self, first, second):
        pass


@serve.deployment
class Other:
    pass


app = Model.bind(
    Other.options(name="spanish_responder").bind(), Other.options(name="SpanishResponder").bind()
)
