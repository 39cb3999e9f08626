"""The tests: a package, so that equal file names do not clash."""
