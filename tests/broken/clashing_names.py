"""Two names are one as DNS has them: in lower case, with '-' between the words.

error: SpanishResponder: this name becomes the service 'spanish-responder', as spanish_responder
  does; give one of them another with .options(name=...)
"""

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
