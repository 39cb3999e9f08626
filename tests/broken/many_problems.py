"""Much is wrong with what the images would have in them; all of it is told at once.

error: Bare: env_vars of its runtime_env has '1X', which no environment can hold
error: Bare: env_vars of its runtime_env has MESHGEN_CERTS, which the mesh sets itself; choose
  another name
error: Bare: pip of its runtime_env: './wheels/x.whl' cannot be installed in an image, which has the
  application's folder and a package index only; name a package, or a URL as `name @ https://...`
error: Remote: working_dir of its runtime_env is 'https://example.com/code.zip', which is not in
  tests/broken, the folder that is copied into the mesh; name a folder in there, relative to it
error: Missing: working_dir of its runtime_env is 'nowhere', but tests/broken has no such folder
  with files to copy; create it, or correct the name
error: Outside: working_dir of its runtime_env is '..', which is not in tests/broken, the folder
  that is copied into the mesh; name a folder in there, relative to it
"""

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
