"""A provider's queue on loopback: jobs that are made by a POST, take their time, and go wrong.

It keeps OGC API Processes as far as `gridmill.sources.queues.client.OgcQueue` needs it. What a job
makes is up to the test.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["Job", "QueueServer"]


@dataclass
class Job:
    """A job of the queue.

    Parameters
    ----------
    name
        Its name.
    request
        What was asked for.
    key
        The Idempotency-Key that came with it.
    ready
        When it is done, seconds since the epoch.
    status
        "accepted", "failed" or "dismissed"; one that is accepted is successful once it is ready.
    content
        What it made; None once that is thrown away.
    """

    name: str
    request: Mapping[str, Any]
    key: str | None
    ready: float
    status: str = "accepted"
    content: bytes | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What the queue says of it."""
        is_done = self.status == "accepted" and time.time() >= self.ready
        told = "successful" if is_done else self.status
        return {"jobID": self.name, "processID": "weather", "status": told, "message": "see log"}


class _Handler(LoopbackHandler):
    @property
    def _queue(self) -> QueueServer:
        return cast(QueueServer, self.owner)

    def do_POST(self) -> None:  # noqa: N802
        """Make a job."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self._queue.answers_after_s)
        job = self._queue._submitted(body["inputs"], self.headers.get("Idempotency-Key"))
        if self._queue._loses_answer():
            self.reset_connection()
        elif not self._answered_oddly():
            self._send(201, json.dumps(job.told).encode())

    def do_GET(self) -> None:  # noqa: N802
        """Say what became of jobs, and give what they made."""
        parts = urlsplit(self.path)
        self._queue._note(f"GET {parts.path}")
        if self._answered_oddly():
            return None
        first, *rest = parts.path.strip("/").split("/")
        if first == "jobs" and not rest:
            jobs = [job.told for job in reversed(self._queue.jobs)]
            return self._send(200, json.dumps({"jobs": jobs}).encode())
        job = next((one for one in self._queue.jobs if rest and one.name == rest[0]), None)
        if job is None:
            return self._send(404, b"no such job")
        if first == "made":
            return self._send(404 if job.content is None else 200, job.content or b"thrown away")
        if rest[1:] == ["results"]:
            made = {"asset": {"value": {"href": f"{self._queue.url}/made/{job.name}"}}}
            return self._send(200, json.dumps(made).encode())
        asked = {"metadata": {"request": {"ids": dict(job.request)}}}
        more = asked if "request" in parse_qs(parts.query) else {}
        return self._send(200, json.dumps(job.told | more).encode())

    def _answered_oddly(self) -> bool:
        odd = self._queue.odd_answers.get(urlsplit(self.path).path)
        if odd is not None:
            self._send(*odd)
        return odd is not None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class QueueServer(LoopbackServer):
    """A queue on 127.0.0.1 whose jobs make files.

    Parameters
    ----------
    make
        Gives the bytes of what was asked for.
    takes_s
        How long each job takes.
    knows_keys
        Whether a request with the key of an earlier one gets its job.
    answers_after_s
        How long it takes until a job is made, and its name told.

    Attributes
    ----------
    jobs
        The jobs, in the order in which they were made.
    requests
        The GET requests so far, like ``"GET /jobs/1"``.
    odd_answers
        Status and body to answer instead, by path; a job is still made.
    most_waiting
        The most jobs that were waiting at once.
    """

    handler = _Handler

    def __init__(
        self,
        make: Callable[[Mapping[str, Any]], bytes],
        *,
        takes_s: float = 0.0,
        knows_keys: bool = False,
        answers_after_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.make = make
        self.takes_s = takes_s
        self.knows_keys = knows_keys
        self.answers_after_s = answers_after_s
        self.jobs: list[Job] = []
        self.requests: list[str] = []
        self.odd_answers: dict[str, tuple[int, bytes]] = {}
        self.most_waiting = 0
        self._lost_answers = 0
        self._changing = threading.Lock()

    def lose_answers(self, times: int) -> None:
        """Make the next jobs, and break the connection instead of saying so."""
        with self._changing:
            self._lost_answers = times

    def _loses_answer(self) -> bool:
        with self._changing:
            self._lost_answers -= 1
            return self._lost_answers >= 0

    def _note(self, request: str) -> None:
        with self._changing:
            self.requests.append(request)

    def _submitted(self, request: Mapping[str, Any], key: str | None) -> Job:
        with self._changing:
            if self.knows_keys:
                for job in self.jobs:
                    if job.key == key:
                        return job
            now = time.time()
            name = f"job-{len(self.jobs)}"
            job = Job(name, request, key, now + self.takes_s, content=self.make(request))
            self.jobs.append(job)
            waiting = sum(one.ready > now for one in self.jobs)
            self.most_waiting = max(self.most_waiting, waiting)
            return job
