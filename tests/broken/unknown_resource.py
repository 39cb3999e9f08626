"""Resources are what Ray has, under its names.

error: unknown_resource cannot be imported: ray_actor_options has cpus, which meshgen does not know;
  it knows accelerator_type, memory, num_cpus, num_gpus, resources, runtime_env
  (tests/broken/unknown_resource.py, line 12); correct that line:
    @serve.deployment(ray_actor_options={"cpus": 2})
"""

from meshgen import serve


@serve.deployment(ray_actor_options={"cpus": 2})
class Model:
    pass


app = Model.bind()
