"""Generated Protobuf messages of the mesh protocol (`make proto`)."""
