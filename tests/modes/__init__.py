"""Whole applications, each test in process, over loopback gRPC, and as processes."""
