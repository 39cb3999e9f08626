"""How meshes run on this machine."""
