"""Tasks and actors: functions and classes that the mesh's task service runs."""
