"""A document behind a real server on this machine, and what a server can do wrong."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.http_source import HttpDocumentSource
from streamrec.documents.refusals import Refusal
from streamrec.documents.store import NoContent

LIMIT = 4_096


class Server(ThreadingHTTPServer):
    """Answers with ``content`` and its ETag, or as ``answer`` says."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.answer = None, '"1"', None
        self.statuses, self.requests = [], []
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/documents/example?slot=1"

    def handle_error(self, _request, _client_address):
        """Say nothing: that clients hang up is what some tests are about."""

    def publish(self, content, etag):
        self.content, self.etag = content, etag


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        if self.server.answer is not None:
            self.server.answer(self)
        elif self.server.content is None:
            self.reply(404)
        elif self.server.etag and self.headers.get("If-None-Match") == self.server.etag:
            self.reply(304, {"ETag": self.server.etag})
        else:
            etag = {"ETag": self.server.etag} if self.server.etag else {}
            self.reply(200, {**etag, "Content-Length": str(len(self.server.content))}, self.server.content)

    def reply(self, status, headers=(), content=b""):
        self.server.statuses.append(status)
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_document_is_read_once_and_then_asked_for_by_its_tag(server):
    source = HttpDocumentSource(server.url)
    assert source.read(LIMIT) is NoContent.MISSING
    server.publish(b"first", '"1"')
    read = source.read(LIMIT)
    assert (read.content, read.tag) == (b"first", '"1"')
    assert source.read(LIMIT, read.tag) is NoContent.UNCHANGED
    server.publish(b"second", 'W/"2"')
    assert source.read(LIMIT, read.tag).content == b"second"
    assert source.read(LIMIT, 'W/"2"') is NoContent.UNCHANGED
    assert server.statuses == [404, 200, 304, 200, 304]
    assert {path for path, _ in server.requests} == {"/documents/example?slot=1"}


def test_a_follower_costs_the_server_a_304_while_nothing_changes(server, kind, keys, signed):
    follower = DocumentFollower(HttpDocumentSource(server.url), kind, keys)
    server.publish(signed(1), '"1"')
    assert follower.refresh() is True
    assert follower.refresh() is False
    server.publish(signed(2, "newer"), '"2"')
    assert follower.refresh() is True
    assert follower.current.value == "newer"
    assert server.statuses == [200, 304, 200]


def test_a_server_without_etags_sends_the_document_every_time(server):
    server.publish(b"first", None)
    source = HttpDocumentSource(server.url)
    assert source.read(LIMIT).tag is None
    assert source.read(LIMIT, None).content == b"first"


@pytest.mark.parametrize("etag", ["x" * 300, '"caf\u00e9"', ""])
def test_an_etag_that_could_not_be_sent_back_is_as_good_as_none(server, etag):
    headers = {"ETag": etag, "Content-Length": "2"}
    server.answer = lambda handler: handler.reply(200, headers, b"{}")
    assert HttpDocumentSource(server.url).read(LIMIT).tag is None


def test_a_long_document_is_read_up_to_one_byte_more_than_allowed(server, kind, keys):
    server.publish(b"x" * 10_000_000, '"1"')
    source = HttpDocumentSource(server.url)
    assert source.read(LIMIT).content == b"x" * (LIMIT + 1)
    follower = DocumentFollower(source, kind, keys)
    assert follower.refresh() is False
    assert follower.refusals == {Refusal.TOO_LARGE: 1}


def chunked(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.reply(
        200, {"Transfer-Encoding": "chunked", "Connection": "close"}, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )


def test_a_document_in_chunks_is_put_together(server):
    server.answer = chunked
    assert HttpDocumentSource(server.url).read(LIMIT).content == b"abcde"


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Length": "100"}, b"cut"),
        ({"Transfer-Encoding": "chunked"}, b"64\r\ncut"),
        ({"Content-Length": "2", **{f"X-{number}": "x" for number in range(200)}}, b"{}"),
    ],
    ids=["cut off", "cut off in a chunk", "too many headers"],
)
def test_an_answer_that_is_no_whole_document_is_a_temporary_error(server, headers, content):
    server.answer = lambda handler: handler.reply(200, headers, content)
    with pytest.raises(DependencyError, match="cannot be read"):
        HttpDocumentSource(server.url).read(LIMIT)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 401, 403, 429, 500, 503])
def test_any_other_status_is_a_temporary_error_and_no_redirect_is_followed(server, status):
    server.answer = lambda handler: handler.reply(status, {"Location": "file:///etc/passwd"})
    with pytest.raises(DependencyError, match=f"status {status}"):
        HttpDocumentSource(server.url).read(LIMIT)
    assert len(server.requests) == 1


def drip(handler):
    handler.reply(200, {"Content-Length": "100000"})
    while not handler.server.closing.wait(0.01):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


def say_nothing(handler):
    handler.server.closing.wait(30.0)


@pytest.mark.parametrize("answer", [drip, say_nothing])
def test_a_server_that_takes_too_long_is_hung_up_on(server, answer):
    server.answer = answer
    with pytest.raises(DependencyError, match=r"no whole answer within 0\.2 s|timed out"):
        HttpDocumentSource(server.url, timeout_s=0.2).read(10_000)


def test_a_server_that_is_not_there_leaves_the_last_good_document(server, kind, keys, signed):
    follower = DocumentFollower(HttpDocumentSource(server.url), kind, keys)
    server.publish(signed(1), '"1"')
    follower.refresh()
    server.answer = lambda handler: handler.connection.close()
    for _ in range(2):
        assert follower.refresh() is False
    assert follower.current.revision == 1
    assert follower.refusals == {Refusal.UNREADABLE: 1}


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate for this machine, signed by itself, and its key."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, None)
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest.fixture
def secured(server, certificate):
    """The server's URL once it speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server.url.replace("http://", "https://")


def test_a_server_with_a_trusted_certificate_is_read(server, secured, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.publish(b"first", '"1"')
    assert HttpDocumentSource(secured).read(LIMIT).content == b"first"


def test_a_server_whose_certificate_nobody_vouches_for_is_not_read(server, secured):
    server.publish(b"first", '"1"')
    with pytest.raises(DependencyError, match="certificate verify failed"):
        HttpDocumentSource(secured).read(LIMIT)
    assert server.requests == []


@pytest.mark.parametrize("answer", [drip, say_nothing])
def test_a_secured_server_that_takes_too_long_is_hung_up_on(
    server, secured, certificate, answer, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answer = answer
    with pytest.raises(DependencyError, match=r"no whole answer within 0\.5 s|timed out"):
        HttpDocumentSource(secured, timeout_s=0.5).read(10_000)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "documents",
        "file:///etc/passwd",
        "ftp://host/document",
        "http://",
        "http:///document",
        "http://name:secret@host/document",
        "http://host:port/document",
        "http://host:70000/document",
        "http://host/a b",
        "http://host/a\r\nX-Header: x",
        "http://h\u00f6st/document",
    ],
)
def test_what_is_no_url_of_a_document_is_refused(url):
    with pytest.raises(InvalidInputError, match="url: must be") as caught:
        HttpDocumentSource(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_timeout_is_above_zero(timeout_s):
    with pytest.raises(InvalidInputError, match="timeout_s"):
        HttpDocumentSource("http://host/document", timeout_s=timeout_s)
