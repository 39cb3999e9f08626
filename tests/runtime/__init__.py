"""Tests of one running service, its parts and the gateway."""
