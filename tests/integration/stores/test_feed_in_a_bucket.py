"""The feed of publications in a bucket, where no store appends."""

from __future__ import annotations

import multiprocessing

from gridmill.model.reports.publication import Publication
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.state.beside.feed import Feed
from quirky_s3 import QuirkyS3, as_aws

DAY = "2026-11-29"


def _write_many(url: str, name: str, n: int, options: dict) -> None:
    feed = Feed(open_objects(url, storage_options=options))
    for number in range(n):
        run = f"{name}-{number}"
        one = Publication(at=f"{DAY}T20:00:00", run=run, before=number, after=number + 1)
        while True:
            feed.note(one)
            feed.write(at_once=True)
            if not feed.has_news:
                break
            feed._pending.clear()


def test_writers_at_the_same_moment_lose_no_line_in_a_bucket(s3_server):
    """Whoever comes second reads the day again: what it wrote over was another one."""
    s3_server.create_bucket("feed")
    url, options = "s3://feed/a.gridmill", s3_server.storage_options
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_many, args=(url, name, 10, options)) for name in ("x", "y")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    runs = [one.run for one in Feed(open_objects(url, storage_options=options)).read(DAY)]
    assert sorted(runs) == sorted(f"{name}-{n}" for name in "xy" for n in range(10))


def test_a_line_is_written_once_where_the_answer_is_lost():
    """The next attempt meets what the first one put."""
    with QuirkyS3(as_aws) as server:
        feed = Feed(open_objects("s3://feed/a.gridmill", storage_options=server.storage_options))
        for number in range(3):
            server.lost_answers = {len(server.puts)} if number else ()
            run = f"run-{number}"
            feed.note(Publication(at=f"{DAY}T20:00:00", run=run, before=number, after=number + 1))
            feed.write(at_once=True)
            assert not feed.has_news
        assert [one.run for one in feed.read(DAY)] == ["run-0", "run-1", "run-2"]
