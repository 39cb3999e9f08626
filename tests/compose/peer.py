"""Calls a service of a mesh from a container, with whatever certificates it is given.

Runs inside of the mesh's image; prints the gRPC status code of the answer.
"""

import os

import grpc


def channel() -> grpc.Channel:
    """To the address in PEER_TARGET, with TLS if there is a PEER_CA, with its own key if given."""
    target = os.environ["PEER_TARGET"]
    if "PEER_CA" not in os.environ:
        return grpc.insecure_channel(target)
    own = [os.environ[name].encode() if name in os.environ else None for name in _OWN]
    return grpc.secure_channel(
        target, grpc.ssl_channel_credentials(os.environ["PEER_CA"].encode(), *own)
    )


_OWN = ("PEER_KEY", "PEER_CERT")


def main() -> None:
    """Call with a request that no member would answer with OK either."""
    with channel() as connection:
        call = connection.unary_unary("/meshgen.v1.MeshService/Call", None, None)
        try:
            call(b"", timeout=10)
            print("OK")
        except grpc.RpcError as exc:
            print(exc.code().name)


if __name__ == "__main__":
    main()
