"""Tasks and actors by parts, and in programs of their own."""
