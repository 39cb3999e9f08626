"""The generic RPCs that every generated service has beside its typed ones, for members of the mesh.

Their messages are wire-identical with those of meshgen.v1.MeshService.
"""

from __future__ import annotations

from meshgen.typed.forms import Label
from meshgen.typed.schema import Field, Message, Rpc

RPCS = (
    Rpc(name="Call", comment="Call runs one method once. For members of the mesh: it is pickled."),
    Rpc(
        name="CallStream",
        streams=True,
        comment="CallStream runs a generator; items that are ready together travel in one message.",
    ),
)
_INVOCATION = (Field(name="invocation", type="meshgen.v1.Invocation", number=1),)
_OUTCOME = (Field(name="outcome", type="meshgen.v1.Outcome", number=1),)
_ITEMS = (
    Field(name="items", type="meshgen.v1.Payload", label=Label.REPEATED, number=1),
    Field(name="failure", type="meshgen.v1.Failure", number=2),
)
MESSAGES = (
    Message(name="CallRequest", is_fixed=True, fields=_INVOCATION),
    Message(name="CallResponse", is_fixed=True, fields=_OUTCOME),
    Message(name="CallStreamRequest", is_fixed=True, fields=_INVOCATION),
    Message(name="CallStreamResponse", is_fixed=True, fields=_ITEMS),
)
