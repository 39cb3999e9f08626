"""The same from a program without an event loop: references are made and read by blocking."""

from app import Squares, sum_of_roots

import meshgen
from meshgen import serve


def main() -> None:
    serve.start({"port": 0})  # any free port
    squares = serve.run(Squares.bind(), route_prefix=None)
    ref = squares.up_to.remote(4)._to_object_ref_sync()
    print(meshgen.get(ref))
    print(meshgen.get(sum_of_roots.remote(ref)))
    serve.shutdown()


if __name__ == "__main__":
    main()
