"""Targets for atheris: `python -m tests.fuzz.frames --seconds 60`, or with files to try again."""
