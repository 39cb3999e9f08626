"""Names with rules: what a deployment is called in DNS, in .proto files and on disk."""

from __future__ import annotations

import keyword
import re
import unicodedata

# Names in Compose that the mesh's own services have.
RESERVED_SERVICES = frozenset({"gateway", "meshgen-tasks"})
# https://protobuf.dev/reference/protobuf/proto3-spec: words that cannot name a package part.
_PROTO_WORDS = frozenset(
    "bool bytes double enum fixed32 fixed64 float import int32 int64 map message oneof option "
    "package public repeated reserved returns rpc service sfixed32 sfixed64 sint32 sint64 stream "
    "string syntax to uint32 uint64 weak".split()
)


class ServiceName(str):
    """A DNS label in kebab-case: `SpanishResponder` → `spanish-responder`. Empty if impossible."""

    def __new__(cls, name: str) -> ServiceName:
        """Derive it from a deployment's or application's name."""
        label = "-".join(words(name))
        return super().__new__(cls, label if _is_dns_label(label) else "")


class ProtoName(str):
    """A package or file name in lower_snake_case: `SpanishResponder` → `spanish_responder`.

    Words reserved in .proto files or in Python, whose generated modules it names, get `_service`.
    """

    def __new__(cls, name: str) -> ProtoName:
        """Derive it from a deployment's or application's name."""
        snake = "_".join(words(name))
        reserved = snake in _PROTO_WORDS or keyword.iskeyword(snake)
        return super().__new__(cls, f"{snake}_service" if reserved else snake)


class MessageName(str):
    """A message or service name in PascalCase: `spanish_responder` → `SpanishResponder`."""

    def __new__(cls, name: str) -> MessageName:
        """Derive it from a deployment's or application's name."""
        return super().__new__(cls, "".join(word.capitalize() for word in words(name)))


class VariableName(str):
    """An environment variable in UPPER_SNAKE_CASE: `SpanishResponder` → `SPANISH_RESPONDER`."""

    def __new__(cls, name: str) -> VariableName:
        """Derive it from a deployment's name."""
        return super().__new__(cls, "_".join(words(name)).upper())


def words(name: str) -> list[str]:
    """The words of a name in lower case: at humps, and at what is no letter or digit."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", ascii_only)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]


def problem_with(name: str) -> str | None:
    """Why a deployment cannot be a service under this name, as the end of a sentence; or None."""
    service = ServiceName(name)
    if not service:
        return (
            "cannot become a DNS name (letters, digits and '-', beginning with a letter, at most "
            "63); give another with .options(name=...)"
        )
    if service in RESERVED_SERVICES:
        return (
            f"would become {service!r}, which is the mesh's own service; "
            "give another with .options(name=...)"
        )
    return None


def _is_dns_label(label: str) -> bool:
    return re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", label) is not None


def grpc_service(app: str, deployment: str) -> str:
    """The full name of a deployment's generated gRPC service."""
    package = f"{ProtoName(app)}.{ProtoName(deployment)}.v1"
    return f"{package}.{MessageName(deployment)}Service"
