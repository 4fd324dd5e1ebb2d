"""Which conditions of puts a bucket means: it is tried, as some ignore and some refuse them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from gridmill.stores.objects.s3.bucket import S3Bucket
from gridmill.stores.objects.s3.requests import Conditions, quoted, unquoted

__all__ = ["find_conditions"]


def find_conditions(bucket: S3Bucket) -> Conditions:
    """Ask a bucket to keep both conditions, in both directions.

    ``If-None-Match: *`` must write where no object is and not where one is; ``If-Match`` must
    refuse another object's tag and take the object's own, which some (Ceph) compare without its
    quotes.
    """
    key = f".gridmill-probe-{uuid.uuid4().hex}"
    try:
        absent = _accepts(bucket, key, IfNoneMatch="*")
        if not absent:
            # Raises what any put would.
            bucket.put(key, b"there")
        absent = absent and not _put_on(bucket, key, b"over it", IfNoneMatch="*")
        return Conditions(absent, _find_form_of_tags(bucket, key))
    finally:
        bucket.delete(key)


def _find_form_of_tags(bucket: S3Bucket, key: str) -> Callable[[str], str] | None:
    for as_sent in (quoted, unquoted):
        if _put_on(bucket, key, b"over another", IfMatch=as_sent(f'"{"0" * 32}"')):
            return None
        if _accepts(bucket, key, IfMatch=as_sent(bucket.tag(key) or "")):
            return as_sent
    return None


def _accepts(bucket: S3Bucket, key: str, **condition: str) -> bool:
    content = uuid.uuid4().bytes
    if _put_on(bucket, key, content, **condition):
        return True
    # The answer to the first attempt may be lost, and the second one meets our own object.
    found = bucket.get(key)
    return found is not None and found[0] == content


def _put_on(bucket: S3Bucket, key: str, content: bytes, **condition: str) -> bool:
    try:
        return bucket.put_if(key, content, **condition)
    except (PermissionError, ConnectionError):
        raise
    except (NotImplementedError, OSError):
        return False
