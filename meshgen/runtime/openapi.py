"""The typed RPCs that HTTP has, as an OpenAPI 3.1 document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from meshgen import __version__
from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgetable import EdgeTable, ExposedRpc

_Json = dict[str, Any]

_SCALARS: dict[int, _Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    # Answers have a string, as JavaScript cannot hold such a number.
    FieldDescriptor.TYPE_INT64: {"type": ["string", "integer"], "format": "int64"},
}
_WELL_KNOWN: dict[str, _Json] = {
    "google.protobuf.Value": {"description": "Any JSON."},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
}
_TOKEN: _Json = {"type": "http", "scheme": "bearer"}
_STATUS = "google.rpc.Status"
_ERROR: _Json = {
    "type": "object",
    "description": "What went wrong. `details` begin with their type, as `@type`.",
    "properties": {
        "code": {"type": "integer", "description": "The gRPC status."},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}


def openapi_document(table: EdgeTable, descriptors: Descriptors) -> str:
    """The document, as JSON."""
    book = _Book()
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": ", ".join(sorted(table.mesh.apps)) or "meshgen",
            "version": __version__,
            "description": "The typed methods of this mesh, in Protobuf's JSON.",
        },
        "paths": {
            path: {"post": book.operation(rpc, descriptors)}
            for path, rpc in sorted(table.by_http_path.items())
        },
        "components": {"schemas": book.schemas, "securitySchemes": {"token": _TOKEN}},
        # Where it is asked for, that is.
        "security": [{}, {"token": []}],
    }
    return json.dumps(document, ensure_ascii=False)


class _Book:
    """The schemas of all messages that were referred to so far."""

    def __init__(self) -> None:
        self.schemas: dict[str, _Json] = {_STATUS: _ERROR}

    def operation(self, rpc: ExposedRpc, descriptors: Descriptors) -> _Json:
        """One RPC."""
        request, response = descriptors.classes(rpc)
        answer = "text/event-stream" if rpc.streams else "application/json"
        returned = f"An event for each item: `data: {response.DESCRIPTOR.name}`"
        return {
            "operationId": f"{rpc.service}.{rpc.rpc}",
            "summary": f"{rpc.stub.id.name}.{rpc.method}",
            "tags": [rpc.stub.id.name],
            "requestBody": {"content": self._content("application/json", request.DESCRIPTOR)},
            "responses": {
                "200": {
                    "description": returned if rpc.streams else "Its result",
                    "content": self._content(answer, response.DESCRIPTOR),
                },
                "default": {
                    "description": "An error",
                    "content": {"application/json": {"schema": _ref(_STATUS)}},
                },
            },
        }

    def _content(self, kind: str, message: Descriptor) -> _Json:
        return {kind: {"schema": self._message(message)}}

    def _message(self, message: Descriptor) -> _Json:
        name = message.full_name
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        if name not in self.schemas:
            self.schemas[name] = {}  # while it is written: it may contain itself
            self.schemas[name] = {
                "type": "object",
                "properties": dict(self._properties(message)),
                "additionalProperties": False,
            }
        return _ref(name)

    def _properties(self, message: Descriptor) -> Iterator[tuple[str, _Json]]:
        for field in message.fields:
            yield field.name, self._field(field)

    def _field(self, field: FieldDescriptor) -> _Json:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            return {"type": "object", "additionalProperties": self._element(value)}
        if field.is_repeated:
            return {"type": "array", "items": self._element(field)}
        return self._element(field)

    def _element(self, field: FieldDescriptor) -> _Json:
        if field.message_type is not None:
            return self._message(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        return _SCALARS[field.type]


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}
