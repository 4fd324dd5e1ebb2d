"""Servers on loopback that ask who is there: by token, key, login or session, which expire."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["Asked", "Guarded", "LoginServer"]


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]
    status: int = 0
    query: dict[str, list[str]] = field(default_factory=dict)


class _Handler(LoopbackHandler):
    def do_GET(self) -> None:  # noqa: N802
        """Let the server decide, then say what it decided."""
        parts = urlsplit(self.path)
        asked = Asked(parts.path, dict(self.headers), query=parse_qs(parts.query))
        status, headers, body = cast(Any, self.owner).answer(asked)
        asked.status = status
        with self.owner._lock:
            cast(Any, self.owner).asked.append(asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815


Answer = tuple[int, dict[str, str], bytes]


class Guarded(LoopbackServer):
    """Serves a folder's files to who has what it asks for.

    Parameters
    ----------
    root
        The folder.
    by
        ``bearer``, ``header``, ``query``, ``basic`` or ``session``.
    valid
        The tokens, keys or ``user:password`` that it takes now; may be changed.
    name
        Of the header or query parameter.
    refusal
        With which status it refuses.
    """

    handler = _Handler

    def __init__(
        self,
        root: Path,
        by: str = "bearer",
        valid: Any = (),
        *,
        name: str = "",
        refusal: int = 401,
        elsewhere: str = "",
    ) -> None:
        super().__init__()
        self.root, self.by, self.valid = root, by, set(valid)
        self.name, self.refusal = name, refusal
        # Where what it has is fetched: another server, to which it redirects.
        self.elsewhere = elsewhere
        # Of a `LoginServer`, for sessions.
        self.login = ""
        self.asked: list[Asked] = []
        # How many requests each token is good for; None for all.
        self.uses: int | None = None

    @property
    def statuses(self) -> list[int]:
        """What it answered, in order."""
        return [one.status for one in self.asked]

    def answer(self, asked: Asked) -> Answer:
        """Give a file, a refusal or a redirect."""
        if self.by == "session":
            if asked.path == "/session":
                home = asked.query["state"][0]
                cookie = f"session={asked.query['code'][0]}; Path=/; HttpOnly"
                return 302, {"Set-Cookie": cookie, "Location": home}, b""
            session = asked.headers.get("Cookie", "").partition("session=")[2]
            if session not in self.valid:
                back = quote(f"{self.url}/session?state={quote(asked.path)}", safe="")
                return 302, {"Location": f"{self.login}/oauth/authorize?back={back}"}, b""
        elif (given := self.given(asked)) not in self.valid:
            return self.refusal, {}, b"who are you?"
        elif self.uses is not None:
            self.uses -= 1
            if self.uses <= 0:
                self.valid.discard(given)
        return self.file(asked)

    def file(self, asked: Asked) -> Answer:
        """Give a file, or where it is."""
        if self.elsewhere:
            return 302, {"Location": f"{self.elsewhere}{asked.path}"}, b""
        path = self.root / asked.path.lstrip("/")
        if not path.is_file():
            return 404, {}, b""
        return 200, {}, path.read_bytes()

    def given(self, asked: Asked) -> str:
        """Return what a request has of what is asked for."""
        header = asked.headers.get("Authorization", "")
        if self.by == "bearer":
            return header.removeprefix("Bearer ")
        if self.by == "basic":
            return base64.b64decode(header.removeprefix("Basic ")).decode()
        if self.by == "header":
            return asked.headers.get(self.name, "")
        return asked.query.get(self.name, [""])[0]


class LoginServer(Guarded):
    """Logs in by basic authentication and sends who did back with a code, as Earthdata's does."""

    def __init__(self, root: Path, valid: Any) -> None:
        super().__init__(root, "basic", valid)
        self.issues_to: Guarded | None = None

    def file(self, asked: Asked) -> Answer:
        """Send back with the code of a new session."""
        assert self.issues_to is not None
        code = f"session-{len(self.asked)}-secret"
        self.issues_to.valid.add(code)
        return 302, {"Location": f"{asked.query['back'][0]}&code={code}"}, b""
