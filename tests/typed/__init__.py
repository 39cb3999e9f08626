"""Tests of type hints as Protobuf."""
