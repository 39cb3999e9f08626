"""Ask a service whether it is healthy, with nothing but the standard library.

    python -I -S probe.py HOST:PORT          grpc.health.v1.Health/Check over cleartext HTTP/2
    python -I -S probe.py http://HOST:PORT/  a plain HTTP GET
    python -I -S probe.py https://HOST:PORT/ the same over TLS, whatever the certificate says

Exit status 0 means SERVING, or a 2xx answer. An orchestrator runs this every few seconds in every
container, so it imports almost nothing: the gRPC call is spelled out below, frame by frame.
"""

import socket
import sys
import time

DEADLINE_S = 2.0

# https://httpwg.org/specs/rfc9113.html: a frame is length (3 bytes), type, flags, stream (4 bytes).
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM = 1
# HealthCheckRequest and HealthCheckResponse as gRPC sends them: uncompressed, length, message.
ASK = b"\0" + b"\0\0\0\0"
SERVING = b"\0" + b"\0\0\0\2" + b"\x08\x01"


class Unhealthy(Exception):
    """Why the service does not count as healthy."""


def literal(text):
    """A string of HPACK, without Huffman coding: all of ours are shorter than 127 bytes."""
    return bytes([len(text)]) + text


def request_headers():
    """The header block: numbers are entries of HPACK's static table."""
    return b"".join(
        [
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + literal(b"/grpc.health.v1.Health/Check"),  # :path
            b"\x01" + literal(b"localhost"),  # :authority
            b"\x0f\x10" + literal(b"application/grpc"),  # content-type
            b"\x00" + literal(b"te") + literal(b"trailers"),
        ]
    )


def frame(kind, flags, stream, payload=b""):
    """One HTTP/2 frame."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def check_grpc(connection):
    """Call Check on the server as a whole; raise unless it says SERVING."""
    connection.send(
        PREFACE
        + frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS, STREAM, request_headers())
        + frame(DATA, END_STREAM, STREAM, ASK)
    )
    answer = b""
    while len(answer) < len(SERVING):
        kind, flags, stream, payload = read_frame(connection)
        if kind == GOAWAY or (stream == STREAM and kind == RST_STREAM):
            raise Unhealthy("the server refused the call")
        if stream != STREAM:
            continue
        if kind == DATA:
            answer += unpadded(flags, payload)
        if flags & END_STREAM and kind in (DATA, HEADERS):
            break
    if answer != SERVING:
        raise Unhealthy("the server is up and says that it is not serving")


def read_frame(connection):
    """Kind, flags, stream and payload of the next frame."""
    head = connection.read(9)
    payload = connection.read(int.from_bytes(head[:3], "big"))
    return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload


def unpadded(flags, payload):
    """The content of a DATA frame."""
    return payload[1 : len(payload) - payload[0]] if flags & PADDED else payload


def check_http(connection, path):
    """GET the path; raise unless the status is 2xx."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    connection.send(request.encode())
    status = connection.read(len("HTTP/1.1 200"))
    if status[9:10] != b"2":
        raise Unhealthy(f"GET {path} answered {status[9:].decode('ascii', 'replace')}")


class Connection:
    """A TCP connection of which every wait ends at one deadline."""

    def __init__(self, host, port, deadline, tls=False):
        self.deadline = deadline
        self.socket = socket.create_connection((host, port), timeout=self.time_left())
        if tls:
            self.socket = encrypted(self.socket)

    def time_left(self):
        """Seconds until the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def send(self, data):
        """Send all of it."""
        self.socket.settimeout(self.time_left())
        self.socket.sendall(data)

    def read(self, size):
        """Exactly this many bytes."""
        data = b""
        while len(data) < size:
            self.socket.settimeout(self.time_left())
            more = self.socket.recv(size - len(data))
            if not more:
                raise Unhealthy("the server closed the connection without an answer")
            data += more
        return data


def encrypted(connection):
    """The connection with TLS. Its name is a user's, and this asks whether somebody answers."""
    import ssl  # most probes do without

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def probe(target):
    """Raise unless whatever listens at the target is healthy."""
    is_http = target.startswith(("http://", "https://"))
    address, slash, path = target.rpartition("://")[2].partition("/")
    host, _, port = address.rpartition(":")
    tls = target.startswith("https://")
    connection = Connection(host, int(port), time.monotonic() + DEADLINE_S, tls)
    try:
        if is_http:
            check_http(connection, slash + path or "/")
        else:
            check_grpc(connection)
    finally:
        connection.socket.close()


def main(arguments):
    """Exit status: 0 healthy, 1 not, 2 asked wrongly."""
    if len(arguments) != 1 or not arguments[0].rpartition(":")[2].partition("/")[0].isdigit():
        print("usage: probe.py HOST:PORT | http[s]://HOST:PORT/PATH", file=sys.stderr)
        return 2
    try:
        probe(arguments[0])
    except (OSError, Unhealthy) as exc:
        print(f"{arguments[0]} is not healthy: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
