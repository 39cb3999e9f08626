"""A deployment's name becomes a DNS name.

error: 模型: this name cannot become a DNS name (letters, digits and '-', beginning with a letter,
  at most 63); give another with .options(name=...)
"""

from meshgen import serve


@serve.deployment(name="模型")
class Model:
    pass


app = Model.bind()
