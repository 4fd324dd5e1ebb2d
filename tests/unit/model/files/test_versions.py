"""Which version of a source file something is about."""

from __future__ import annotations

import json

import google_crc32c
import pytest

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word, checksum_of, checksum_of_file, is_on_disk
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus

NAMED = (None, "etag", "then")
OTHER = (None, "other", "then")
ONE, TWO = checksum_of(1, [None]), checksum_of(2, [None])
PART = checksum_of(1, [(0, 8)])


@pytest.mark.parametrize(
    ("identity", "content", "is_about"),
    [
        (NAMED, ONE, True),
        (NAMED, TWO, False),
        (OTHER, ONE, True),
        (OTHER, TWO, False),
        (NAMED, PART, True),
        (NAMED, None, True),
        (OTHER, PART, False),
        (OTHER, None, False),
    ],
)
def test_content_decides_where_it_is_known(identity, content, is_about):
    """Else how the provider names it; other parts of a file tell nothing."""
    assert Word("me", NAMED, ONE).is_about(identity, content) is is_about
    assert file_of(NAMED, ONE).is_as(file_of(identity, content)) is is_about


def file_of(identity, content) -> SourceFileRecord:
    """Give the record of a file."""
    _, etag, last_modified = identity
    return SourceFileRecord(
        url="u",
        start=0,
        stop=1,
        status=SourceFileStatus.SUCCEEDED,
        settled=True,
        etag=etag,
        last_modified=last_modified,
        checksum=content,
    )


def test_what_lies_on_disk_is_what_came_or_not(tmp_path):
    """Whatever parts of a file it is."""
    path = tmp_path / "a"
    path.write_bytes(b"content")
    of = google_crc32c.value(b"content")
    assert checksum_of_file(path) == checksum_of(of, [None])
    assert is_on_disk(path, checksum_of(of, [(3, 10)]))
    path.write_bytes(b"contend")
    assert not is_on_disk(path, checksum_of(of, [None]))


def test_an_earlier_gridmill_reads_the_words_of_this_one():
    """What a file held is kept beside them, and comes back; words without it are read."""
    words = {"a": Word("me", NAMED, ONE), "b": Word("you", NAMED)}
    file = SourceFileRecord(**{**vars(file_of(NAMED, ONE)), "withdrawn": words, "index": OTHER})
    record = ProgressRecord(dataset_id="x", start=0, stop=1, groups=((file,),))
    raw = json.loads(record.to_json())["groups"][0][0]
    assert raw["withdrawn"] == {"a": ["me", list(NAMED)], "b": ["you", list(NAMED)]}
    assert ProgressRecord.from_json(record.to_json()) == record
