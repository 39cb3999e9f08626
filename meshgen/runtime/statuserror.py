"""What the client of a typed call is told of its failure, on its way there."""

from __future__ import annotations

from meshgen.errors import MeshError


class StatusError(MeshError):
    """A typed call failed; `status` is a google.rpc.Status, serialized.

    Made where the call ran, as only there the user's exception is known. Nothing of it but what
    clients may see leaves that process.
    """

    grpc_status = "UNKNOWN"

    def __init__(self, status: bytes) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return "a typed call failed; its status says why"
