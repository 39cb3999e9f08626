"""Replicas that stop, die, hang, are cut off or slow, and what becomes of the calls there."""
