"""The generator: from an application to a folder of files."""
