"""Only `reconfigure` can take a `user_config`, and a function has no methods.

error: config_of_a_function cannot be imported: model is a function: user_config needs a class with
  `reconfigure` (tests/broken/config_of_a_function.py, line 11); correct that line:
    @serve.deployment(user_config={"threshold": 0.5})
"""

from meshgen import serve


@serve.deployment(user_config={"threshold": 0.5})
def model(text):
    return text


app = model.bind()
