"""`python -m meshgen` is the `meshgen` command."""

from meshgen.cli import main

if __name__ == "__main__":
    main(prog_name="meshgen")
