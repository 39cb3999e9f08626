"""A lock cannot leave its process, so no replica can be given one.

error: Model: argument 'lock' (lock) cannot be pickled: cannot pickle '_thread.lock' object
"""

import threading

from meshgen import serve


@serve.deployment
class Model:
    def __init__(self, lock):
        self.lock = lock


app = Model.bind(lock=threading.Lock())
