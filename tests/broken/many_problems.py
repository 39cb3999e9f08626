# error: Bare: env_vars of its runtime_env has '1X', which no environment can hold
# error: Bare: env_vars of its runtime_env has MESHGEN_CERTS, which the mesh sets itself
# error: Bare: pip of its runtime_env: './wheels/x.whl' cannot be installed in an image
# error: Remote: working_dir of its runtime_env is 'https://example.com/code.zip', which is not in
# error: Missing: working_dir of its runtime_env is 'nowhere', but
# error: Outside: working_dir of its runtime_env is '..', which is not in
from meshgen import serve


@serve.deployment
class Model:
    def __init__(self, *others):
        pass


def with_env(name, **runtime_env):
    return Model.options(name=name, ray_actor_options={"runtime_env": runtime_env})


app = Model.bind(
    with_env("Bare", env_vars={"1X": "", "MESHGEN_CERTS": ""}, pip=["./wheels/x.whl"]).bind(),
    with_env("Remote", working_dir="https://example.com/code.zip").bind(),
    with_env("Missing", working_dir="nowhere").bind(),
    with_env("Outside", working_dir="..").bind(),
)
