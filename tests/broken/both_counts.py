"""Either the number of replicas is given, or the bounds that it may move in.

error: both_counts cannot be imported: give either num_replicas or autoscaling_config, not both
  (tests/broken/both_counts.py, line 11); correct that line:
    @serve.deployment(num_replicas=2, autoscaling_config={"min_replicas": 1, "max_replicas": 4})
"""

from meshgen import serve


@serve.deployment(num_replicas=2, autoscaling_config={"min_replicas": 1, "max_replicas": 4})
class Model:
    pass


app = Model.bind()
