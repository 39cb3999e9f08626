from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FrameKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_KIND_UNSPECIFIED: _ClassVar[FrameKind]
    FRAME_KIND_HELLO: _ClassVar[FrameKind]
    FRAME_KIND_STATE: _ClassVar[FrameKind]
    FRAME_KIND_REQUEST: _ClassVar[FrameKind]
    FRAME_KIND_RESPONSE: _ClassVar[FrameKind]
    FRAME_KIND_ERROR: _ClassVar[FrameKind]
    FRAME_KIND_CANCEL: _ClassVar[FrameKind]
    FRAME_KIND_BUSY: _ClassVar[FrameKind]
    FRAME_KIND_PING: _ClassVar[FrameKind]
    FRAME_KIND_PONG: _ClassVar[FrameKind]
    FRAME_KIND_RETAIN: _ClassVar[FrameKind]
    FRAME_KIND_FETCH: _ClassVar[FrameKind]
    FRAME_KIND_HOLD: _ClassVar[FrameKind]
    FRAME_KIND_RELEASE: _ClassVar[FrameKind]

class ReplicaPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_PHASE_UNSPECIFIED: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_STARTING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_SERVING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_DRAINING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_FAILED: _ClassVar[ReplicaPhase]

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_KIND_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_KIND_USER: _ClassVar[FailureKind]
    FAILURE_KIND_CALL: _ClassVar[FailureKind]
    FAILURE_KIND_CANCELLED: _ClassVar[FailureKind]
    FAILURE_KIND_UNAVAILABLE: _ClassVar[FailureKind]
    FAILURE_KIND_DEADLINE: _ClassVar[FailureKind]
    FAILURE_KIND_LOST: _ClassVar[FailureKind]
FRAME_KIND_UNSPECIFIED: FrameKind
FRAME_KIND_HELLO: FrameKind
FRAME_KIND_STATE: FrameKind
FRAME_KIND_REQUEST: FrameKind
FRAME_KIND_RESPONSE: FrameKind
FRAME_KIND_ERROR: FrameKind
FRAME_KIND_CANCEL: FrameKind
FRAME_KIND_BUSY: FrameKind
FRAME_KIND_PING: FrameKind
FRAME_KIND_PONG: FrameKind
FRAME_KIND_RETAIN: FrameKind
FRAME_KIND_FETCH: FrameKind
FRAME_KIND_HOLD: FrameKind
FRAME_KIND_RELEASE: FrameKind
REPLICA_PHASE_UNSPECIFIED: ReplicaPhase
REPLICA_PHASE_STARTING: ReplicaPhase
REPLICA_PHASE_SERVING: ReplicaPhase
REPLICA_PHASE_DRAINING: ReplicaPhase
REPLICA_PHASE_FAILED: ReplicaPhase
FAILURE_KIND_UNSPECIFIED: FailureKind
FAILURE_KIND_USER: FailureKind
FAILURE_KIND_CALL: FailureKind
FAILURE_KIND_CANCELLED: FailureKind
FAILURE_KIND_UNAVAILABLE: FailureKind
FAILURE_KIND_DEADLINE: FailureKind
FAILURE_KIND_LOST: FailureKind

class LinkRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class LinkResponse(_message.Message):
    __slots__ = ("frames", "ongoing")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    ONGOING_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    ongoing: int
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ..., ongoing: _Optional[int] = ...) -> None: ...

class CallRequest(_message.Message):
    __slots__ = ("invocation",)
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    invocation: Invocation
    def __init__(self, invocation: _Optional[_Union[Invocation, _Mapping]] = ...) -> None: ...

class CallResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    def __init__(self, outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...

class CallStreamRequest(_message.Message):
    __slots__ = ("invocation", "stream_id")
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    invocation: Invocation
    stream_id: str
    def __init__(self, invocation: _Optional[_Union[Invocation, _Mapping]] = ..., stream_id: _Optional[str] = ...) -> None: ...

class CallStreamResponse(_message.Message):
    __slots__ = ("items", "failure")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Payload]
    failure: Failure
    def __init__(self, items: _Optional[_Iterable[_Union[Payload, _Mapping]]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("payload_id", "sizes", "chunk")
    PAYLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    payload_id: str
    sizes: _containers.RepeatedScalarFieldContainer[int]
    chunk: bytes
    def __init__(self, payload_id: _Optional[str] = ..., sizes: _Optional[_Iterable[int]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("payload_id",)
    PAYLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    payload_id: str
    def __init__(self, payload_id: _Optional[str] = ...) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("sizes", "chunk")
    SIZES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    chunk: bytes
    def __init__(self, sizes: _Optional[_Iterable[int]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("kind", "id", "invocation", "payload", "failure", "hello", "state", "items", "stream_id", "value_id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_ID_FIELD_NUMBER: _ClassVar[int]
    kind: FrameKind
    id: int
    invocation: Invocation
    payload: Payload
    failure: Failure
    hello: Hello
    state: State
    items: _containers.RepeatedCompositeFieldContainer[Payload]
    stream_id: str
    value_id: str
    def __init__(self, kind: _Optional[_Union[FrameKind, str]] = ..., id: _Optional[int] = ..., invocation: _Optional[_Union[Invocation, _Mapping]] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., state: _Optional[_Union[State, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Payload, _Mapping]]] = ..., stream_id: _Optional[str] = ..., value_id: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "deployment", "caller", "methods", "version")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    deployment: str
    caller: str
    methods: str
    version: str
    def __init__(self, protocol: _Optional[int] = ..., deployment: _Optional[str] = ..., caller: _Optional[str] = ..., methods: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("phase", "replica_id", "max_ongoing_requests", "message", "host")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_ONGOING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    phase: ReplicaPhase
    replica_id: str
    max_ongoing_requests: int
    message: str
    host: str
    def __init__(self, phase: _Optional[_Union[ReplicaPhase, str]] = ..., replica_id: _Optional[str] = ..., max_ongoing_requests: _Optional[int] = ..., message: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class Invocation(_message.Message):
    __slots__ = ("method", "arguments", "context", "stream", "typed")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TYPED_FIELD_NUMBER: _ClassVar[int]
    method: str
    arguments: Payload
    context: Context
    stream: bool
    typed: bool
    def __init__(self, method: _Optional[str] = ..., arguments: _Optional[_Union[Payload, _Mapping]] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., stream: _Optional[bool] = ..., typed: _Optional[bool] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("request_id", "time_left_ms", "route", "multiplexed_model_id", "session_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    MULTIPLEXED_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    time_left_ms: int
    route: str
    multiplexed_model_id: str
    session_id: str
    def __init__(self, request_id: _Optional[str] = ..., time_left_ms: _Optional[int] = ..., route: _Optional[str] = ..., multiplexed_model_id: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("pickle", "buffers", "payload_id", "references", "has_more")
    PICKLE_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    pickle: bytes
    buffers: _containers.RepeatedScalarFieldContainer[bytes]
    payload_id: str
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    has_more: bool
    def __init__(self, pickle: _Optional[bytes] = ..., buffers: _Optional[_Iterable[bytes]] = ..., payload_id: _Optional[str] = ..., references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("owner", "address", "value_id", "by_value", "payload", "failure", "stream")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VALUE_ID_FIELD_NUMBER: _ClassVar[int]
    BY_VALUE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    owner: str
    address: str
    value_id: str
    by_value: bool
    payload: Payload
    failure: Failure
    stream: PassedStream
    def __init__(self, owner: _Optional[str] = ..., address: _Optional[str] = ..., value_id: _Optional[str] = ..., by_value: _Optional[bool] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., stream: _Optional[_Union[PassedStream, _Mapping]] = ...) -> None: ...

class PassedStream(_message.Message):
    __slots__ = ("items", "owner", "address", "stream_id", "failure", "time_left_ms")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Payload]
    owner: str
    address: str
    stream_id: str
    failure: Failure
    time_left_ms: int
    def __init__(self, items: _Optional[_Iterable[_Union[Payload, _Mapping]]] = ..., owner: _Optional[str] = ..., address: _Optional[str] = ..., stream_id: _Optional[str] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., time_left_ms: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("payload", "failure")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    payload: Payload
    failure: Failure
    def __init__(self, payload: _Optional[_Union[Payload, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "type_name", "message", "traceback", "pickle", "origin", "status")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    PICKLE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    kind: FailureKind
    type_name: str
    message: str
    traceback: str
    pickle: bytes
    origin: str
    status: bytes
    def __init__(self, kind: _Optional[_Union[FailureKind, str]] = ..., type_name: _Optional[str] = ..., message: _Optional[str] = ..., traceback: _Optional[str] = ..., pickle: _Optional[bytes] = ..., origin: _Optional[str] = ..., status: _Optional[bytes] = ...) -> None: ...
