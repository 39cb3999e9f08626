"""One running service: how it finds peers, takes calls, runs user code and answers."""

from meshgen.runtime.poller import choose_poller

# Here, where nothing of this package can have imported gRPC before.
choose_poller()
