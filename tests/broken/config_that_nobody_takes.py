"""Only `reconfigure` can take a `user_config`, and the class has none.

error: Model: it has a user_config, but its class has no reconfigure(user_config)
"""

from meshgen import serve


@serve.deployment(user_config={"threshold": 0.5})
class Model:
    pass


app = Model.bind()
