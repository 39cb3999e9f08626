"""meshgen: a gRPC microservice mesh generated from a composed Python application."""

__version__ = "0.1.0"
