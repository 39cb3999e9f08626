"""The generated Python client: source text from shapes. It is one of its users' dependencies, and
so has neither meshgen nor the application's own classes in it."""
