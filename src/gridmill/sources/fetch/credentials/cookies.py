"""Cookies of a login, kept for the host that set them, by Python's own rules and one more.

One that was set over https is sent over https only: not all hosts call theirs secure.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any
from urllib.request import Request

__all__ = ["keep_cookies", "with_cookies"]


class _Answer:
    """An answer, as the cookie jar wants it."""

    def __init__(self, headers: Any, *, is_secure: bool) -> None:
        self._message = Message()
        for value in headers.getlist("set-cookie"):
            self._message["Set-Cookie"] = f"{value}; Secure" if is_secure else value

    def info(self) -> Message:
        return self._message


def with_cookies(jar: CookieJar, url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the cookies that a URL's host has set."""
    request = Request(url)
    jar.add_cookie_header(request)
    cookie = request.get_header("Cookie")
    return dict(headers) if cookie is None else {**headers, "Cookie": cookie}


def keep_cookies(jar: CookieJar, url: str, headers: Any) -> None:
    """Keep the cookies that an answer sets."""
    if "set-cookie" in headers:
        request = Request(url)
        answer: Any = _Answer(headers, is_secure=request.type == "https")
        jar.extract_cookies(answer, request)
