"""The class has a lock in its closure, so it can neither be imported nor sent.

error: Model: make.<locals>.Model of class_in_a_function cannot be pickled: cannot pickle
  '_thread.lock' object
"""

import threading

from meshgen import serve


def make():
    lock = threading.Lock()

    @serve.deployment
    class Model:
        def __call__(self):
            with lock:
                return 1

    return Model.bind()


app = make()
