"""A server on loopback that answers http and https at one port, and keeps what it was told."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["BothSchemes", "serving_both"]

Answer = tuple[int, Mapping[str, str], bytes]


class BothSchemes(http.server.ThreadingHTTPServer):
    """Answers each request by a function of its scheme and path.

    Attributes
    ----------
    told
        Scheme, path and headers of each request.
    """

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[str, str], Answer] = lambda scheme, path: (404, {}, b"")
        self.told: list[tuple[str, str, dict[str, str]]] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)

    def at(self, scheme: str) -> str:
        """Return its address."""
        return f"{scheme}://127.0.0.1:{self.server_port}"

    def in_the_clear(self) -> list[dict[str, str]]:
        """Return the headers of the requests by http."""
        return [headers for scheme, _, headers in self.told if scheme == "http"]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, which is of TLS if it begins so."""
        connection, address = super().get_request()
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address


class _Handler(http.server.BaseHTTPRequestHandler):
    server: BothSchemes

    def do_GET(self) -> None:
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        self.server.told.append((scheme, self.path, dict(self.headers)))
        status, headers, body = self.server.answer(scheme, self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving_both(folder: Path, monkeypatch: Any) -> Iterator[BothSchemes]:
    """Serve, with a certificate that this process trusts."""
    certificate = folder / "certificate.pem"
    certificate.write_bytes(_certificate())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with BothSchemes(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + made.public_bytes(serialization.Encoding.PEM)
