"""The module has nothing to run.

error: no_applications has no 'app' (it has no applications)
"""

value = 1
