"""Container tests: built meshes in a real Docker engine."""
