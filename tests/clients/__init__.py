"""Clients that know nothing of meshgen: other languages, other tools, and the documents' own."""
