"""A `user_config` is written to a file that people can edit, as JSON.

error: config_that_is_no_json cannot be imported: user_config must be JSON: Object of type set is
  not JSON serializable (tests/broken/config_that_is_no_json.py, line 11); correct that line:
    @serve.deployment(user_config={"stop": {"a", "b"}})
"""

from meshgen import serve


@serve.deployment(user_config={"stop": {"a", "b"}})
class Model:
    def reconfigure(self, config):
        pass


app = Model.bind()
