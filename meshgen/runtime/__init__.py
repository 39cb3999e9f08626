"""One running service: how it finds peers, takes calls, runs user code and answers."""
