"""A real HTTP server on a loopback port whose answers a test scripts byte by byte."""

from __future__ import annotations

import json
import socket
import threading

ANSWER = {
    "request_id": "r1",
    "client_request_id": None,
    "user_id": "u",
    "items": [{"item_id": f"i{rank}", "position": rank, "score": 1.0 - rank} for rank in range(3)],
    "rung": "ranked",
    "degraded": False,
    "skipped": [],
    "in_full": True,
    "cold_start": False,
    "model_versions": {"retrieval": 1},
    "price_revision": 7,
    "latency_ms": 4.5,
    "stages_ms": {"retrieval": 1.25},
}


def answer(status=200, document=None, *headers, content=None):
    """One whole HTTP answer."""
    body = json.dumps(ANSWER if document is None else document).encode() if content is None else content
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        "content-type: application/json",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def problem(status, *headers, **fields):
    document = {
        "type": "urn:streamrec:problem:x",
        "title": "T",
        "status": status,
        "detail": "d",
        "errors": [],
    }
    return answer(status, document | fields, *headers)


class Request:
    """What the server was sent."""

    def __init__(self, head, body):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)
        }
        self.document = json.loads(body)


class Server:
    """Plays one script a request, the last one again and again.

    A script is bytes, which are sent as they are, a function of the request that returns such, or a list
    of pieces: bytes, None (the connection is closed), or a number of seconds to wait unless the test is over.
    """

    def __init__(self, *scripts):
        self.scripts = scripts or (answer(),)
        self.requests = []
        self.connections = 0
        self.over = threading.Event()
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        self.accepting = threading.Thread(target=self.accept)
        self.accepting.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join()
        for thread in self.threads:
            thread.join()

    def accept(self):
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self.serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        connection.settimeout(0.02)
        with connection:
            pending = b""
            while True:
                request, pending = self.read(connection, pending)
                if request is None:
                    return
                number = len(self.requests)
                self.requests.append(request)
                script = self.scripts[min(number, len(self.scripts) - 1)]
                try:
                    if not self.play(connection, script(request) if callable(script) else script):
                        return
                except OSError:
                    return

    def play(self, connection, script):
        for piece in script if isinstance(script, list) else [script]:
            if piece is None:
                return False
            if isinstance(piece, bytes):
                connection.sendall(piece)
            elif self.over.wait(piece):
                return False
        return True

    def read(self, connection, pending):
        while b"\r\n\r\n" not in pending or not self.complete(pending):
            try:
                received = connection.recv(65_536)
            except TimeoutError:
                if self.over.is_set():
                    return None, b""
                continue
            except OSError:
                return None, b""
            if not received:
                return None, b""
            pending += received
        head, _, rest = pending.partition(b"\r\n\r\n")
        length = self.length(head)
        return Request(head, rest[:length]), rest[length:]

    def complete(self, pending):
        head, _, rest = pending.partition(b"\r\n\r\n")
        return len(rest) >= self.length(head)

    def length(self, head):
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return int(line.partition(b":")[2])
        return 0
