"""Requests to Google Cloud Storage and Azure through obstore: tried for long, told plainly."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from gridmill.model.urls import mask_text
from gridmill.stores.objects.clouds.addresses import CloudAddress
from gridmill.stores.objects.patience import Patience

__all__ = ["CloudRequests", "Transient", "is_absent", "is_refused"]

T = TypeVar("T")

CONNECT_TIMEOUT = timedelta(seconds=10)
# Object stores answer within seconds; a minute without a byte is a dead connection.
READ_TIMEOUT = timedelta(seconds=60)
# Of a whole request: the largest that is put in one, 64 MiB, takes that long at 1 Mbit/s.
TIMEOUT = timedelta(minutes=10)
# Attempts are counted by patience; these spare a large object whose one part met a refusal.
RETRIES = 2
NO_BUCKET = re.compile(r"ContainerNotFound|NoSuchBucket|bucket does not exist", re.IGNORECASE)
STATUS = re.compile(r'(?:status code: |\(code: |code: ")(\d{3})')
# What is said of requests that got no answer.
NO_ANSWER = re.compile(r"HTTP error|error sending request|timed? ?out|connection", re.IGNORECASE)
CREDENTIALS = {
    "gcs": "set GOOGLE_APPLICATION_CREDENTIALS, run gcloud auth application-default login, or give "
    "token as storage option",
    "azure": "set AZURE_STORAGE_ACCOUNT_KEY or what a service principal has, give account_key or "
    "sas_token as storage option, or use_azure_cli=true",
}

# How an error says what was asked for, and that the credentials are wrong rather than too few.
ASKED = re.compile(r"(?:Error performing|Bulk) (list|delete|[A-Z]+) ")
WRONG = re.compile(r"AuthenticationFailed|InvalidAuthenticationInfo|status code: 401")
_GET = "storage.objects.get, and storage.objects.list where the object may be absent"
_PUT = "storage.objects.create, and storage.objects.delete to write over an object"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
# What a role must allow, by request. Sources: Google's "IAM permissions for XML requests", and
# Microsoft's "Permissions for blob service operations", with the letter of a SAS.
PERMISSIONS = {
    "gcs": {
        "list": "storage.objects.list",
        "GET": _GET,
        "HEAD": _GET,
        "PUT": _PUT,
        "POST": _PUT,
        "DELETE": "storage.objects.delete",
    },
    "azure": {
        "list": f"{_BLOBS}/read for the container (of a SAS: l)",
        "GET": f"{_BLOBS}/read (of a SAS: r)",
        "HEAD": f"{_BLOBS}/read (of a SAS: r)",
        "PUT": f"{_BLOBS}/write (of a SAS: w)",
        "delete": f"{_BLOBS}/delete (of a SAS: d)",
    },
}


class Transient(ConnectionError):  # noqa: N818
    """Worth another attempt."""


@dataclass(frozen=True)
class CloudRequests:
    """Requests to one bucket or container.

    Parameters
    ----------
    address
        Where it is.
    patience
        How long a request is tried.
    """

    address: CloudAddress
    patience: Patience

    def run(self, request: Callable[[Any], T]) -> T:
        """Make a request with the process's store until it succeeds or patience ends.

        What says that an object is absent, or a condition did not hold, is raised as it is.

        Raises
        ------
        PermissionError
            The credentials are missing, wrong, or not enough.
        OSError
            The bucket is missing, or the service did not answer as it should in time.
        """
        for attempt in self.patience.attempts_at(Transient):
            with attempt:
                try:
                    return request(self._store)
                except Exception as error:
                    refusal = self._refusal(error)
                    if refusal is error:
                        raise
                    # Without the chain, which holds the whole request.
                    raise refusal from None
        raise AssertionError("stamina raises what the last attempt raised")

    @property
    def known(self) -> dict[str, Any]:
        """What this process found out about the bucket."""
        return _connection(self.address)[1]

    @property
    def _store(self) -> Any:
        return _connection(self.address)[0]

    def _refusal(self, error: Exception) -> Exception:
        """Say in one line what went wrong; what is no failure of the service stays as it is."""
        from obstore import exceptions

        told, at = str(error), self.address
        if isinstance(error, FileNotFoundError) and NO_BUCKET.search(told):
            return OSError(
                f"there is no bucket or container {at.bucket} at {at.endpoint}: make it, or "
                "correct the URL"
            )
        if is_absent(error) or is_refused(error) or isinstance(error, OSError):
            return error
        denied = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        if isinstance(error, denied):
            return self._denied(told)
        if "token request" in told:
            hint = CREDENTIALS[at.service]
            return PermissionError(f"no credentials found for {at.bucket}: {hint}")
        return self._failed(error, told) if isinstance(error, exceptions.BaseError) else error

    def _denied(self, told: str) -> PermissionError:
        """Name the permission that is missing, unless the credentials are wrong altogether."""
        at, asked = self.address, ASKED.search(told)
        wanted = PERMISSIONS[at.service].get(asked[1]) if asked else None
        is_few = asked and wanted and not WRONG.search(told)
        needed = f": {asked[1]} needs {wanted}" if asked and is_few else ""
        return PermissionError(
            f"these credentials may not do that in {at.bucket} at {at.endpoint}{needed}"
        )

    def _failed(self, error: Exception, told: str) -> OSError:
        found = STATUS.search(told)
        where = f"from {self.address.endpoint} for {self.address.bucket}"
        if found is None:
            kind: type[OSError] = Transient if NO_ANSWER.search(told) else OSError
            return kind(f"{mask_text(told.splitlines()[0])[:200]} ({where})")
        status = int(found[1])
        # obstore has no error of its own for a listing that is refused.
        if status in (401, 403):
            return self._denied(told)
        is_transient = status in (408, 409, 429) or status >= 500
        return (Transient if is_transient else OSError)(f"HTTP {status} {where}")


def is_absent(error: BaseException) -> bool:
    """Whether an error says that there is no such object."""
    return isinstance(error, FileNotFoundError)


def is_refused(error: BaseException) -> bool:
    """Whether an error says that the condition of a put, or of a get, did not hold."""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    return isinstance(error, AlreadyExistsError | PreconditionError)


# By address: the store, which is safe in a process's threads, and what is known of its bucket.
_connections: dict[str, tuple[Any, dict[str, Any]]] = {}
_connecting = threading.Lock()


def _connection(address: CloudAddress) -> tuple[Any, dict[str, Any]]:
    name = repr((address.service, address.bucket, sorted(address.config.items()), address.headers))
    with _connecting:
        if name not in _connections:
            _connections[name] = (_store(address), {})
        return _connections[name]


def _store(address: CloudAddress) -> Any:
    from obstore.store import AzureStore, GCSStore

    client: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "timeout": TIMEOUT,
        "allow_http": address.allows_http,
        **_default_headers(address.headers),
    }
    kind: Any = GCSStore if address.service == "gcs" else AzureStore
    return kind(
        address.bucket,
        config=dict(address.config),
        client_options=client,
        retry_config={"max_retries": RETRIES, "retry_timeout": READ_TIMEOUT},
    )


def _default_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    return {"default_headers": dict(headers)} if headers else {}


def _forget_connections() -> None:
    # A forked process has none of the threads that they work with.
    global _connecting
    _connecting = threading.Lock()
    _connections.clear()


os.register_at_fork(after_in_child=_forget_connections)
