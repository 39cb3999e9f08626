"""Tests of the generated Python client."""
