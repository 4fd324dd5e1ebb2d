"""How uploads, metadata and coordinates become commits, which readers see whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import icechunk
from zarr.core.sync import sync

from gridmill.stores.final_store import CoordinateValues, StagedRegion
from gridmill.stores.icechunk.keys import (
    arrays_in,
    get,
    growing_dim,
    keys_below,
    read_metadata,
    set_all,
    write_arrays,
    write_metadata,
)
from gridmill.stores.icechunk.named.branches import begin_branch
from gridmill.stores.icechunk.patience import one_line, patiently
from gridmill.stores.icechunk.seeds import Seeds
from gridmill.stores.icechunk.uploads import (
    Uploads,
    digest_of,
    digests_without,
    merged_in,
    said_of_merged,
)
from gridmill.stores.metadata import ROOT, array_metadata, first_object_beyond

__all__ = ["Publication", "PublishConflict", "commit"]


class PublishConflict(RuntimeError):  # noqa: N818
    """Somebody else committed changes of what this publication changes: theirs stay."""


class Publication:
    """The commits of one archive.

    Parameters
    ----------
    uploads
        What there is to publish.
    seeds
        What uploads of arrays begin from that no commit has.
    """

    def __init__(self, uploads: Uploads, seeds: Seeds) -> None:
        self.uploads = uploads
        self.seeds = seeds
        self.repository = uploads.repository

    def prepare(self, folder: Path) -> None:
        """Make the repository, with arrays that have no position yet: uploads fork from it.

        There is no root group yet, so that readers see nothing. Where there is one, uploads to
        arrays that it lacks fork from seeds.
        """

        def create() -> None:
            arrays = arrays_in(folder)
            self.repository.create(growing_dim(arrays), arrays, self.uploads.format_of_new())
            begin_branch(self.repository)
            repository = self.repository.open()
            session = repository.writable_session(self.repository.branch)
            if get(session.store, ROOT) is not None:
                self.seeds.plant(session, arrays)
                return
            write_arrays(session.store, folder, arrays)
            if session.has_uncommitted_changes:
                commit(repository, session, "Prepare the archive, not yet to be seen", {})

        patiently(create)

    def publish(
        self,
        folder: Path,
        staged: Sequence[StagedRegion] = (),
        message: str = "",
        check: Callable[[], None] = lambda: None,
        values: Sequence[CoordinateValues] = (),
        *,
        together: Collection[str] = (),
    ) -> bool:
        """Make uploads, and a local store's metadata and coordinates, what readers see.

        See `FinalStore.publish`. A commit for each region, with the values that speak of it, or
        one for metadata alone, with the message; `check` is called before each, with the version
        that it builds on in hand.

        Raises
        ------
        PublishConflict
            Another committer changed the same; nothing of theirs is lost.
        """
        if any(region.unseen for region in staged):
            patiently(partial(self._publish_unseen, folder, staged, message, check, values))
            return True
        merged = self.uploads.merged()
        todo = [region for region in staged if merged.get(region.name) != digest_of(region)]
        if todo and together:
            of = partial(self._publish_regions, folder, todo, None, check, values, message)
            patiently(partial(of, together))
            return True
        of_region: dict[str, list[CoordinateValues]] = {}
        for part in values:
            of_region.setdefault(str(part.start), []).append(part)
        for number, region in enumerate(todo, 1):
            # The last commit shows all that the folder does, the others what precedes it.
            is_last = number == len(todo)
            own = of_region.pop(region.name, [])
            own += [part for parts in of_region.values() for part in parts] if is_last else []
            upto = None if is_last else region
            patiently(partial(self._publish_regions, folder, [region], upto, check, own))
        if todo:
            return True
        return patiently(partial(self._publish_metadata, folder, message, check, values))

    def _publish_regions(
        self,
        folder: Path,
        regions: Sequence[StagedRegion],
        upto: StagedRegion | None,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
        message: str = "",
        only: Collection[str] = (),
    ) -> None:
        """Make regions visible in one commit, all variables or what only some of them brought."""
        repository = self.repository.open()
        merged = merged_in(repository, self.repository.branch)
        todo = [region for region in regions if merged.get(region.name) != digest_of(region)]
        if not todo:
            return
        session = repository.writable_session(self.repository.branch)
        check()
        for region in todo:
            chosen = {n: t for n, t in region.tokens.items() if not only or n in only}
            self._merge(session, region.name, chosen)
            merged[region.name] = digest_of(region)
        tokens = {name: token for region in todo for name, token in region.tokens.items()}
        write_metadata(session.store, folder, upto, merged=tokens)
        set_all(session.store, values)
        commit(repository, session, message or todo[-1].message, merged)

    def _merge(self, session: icechunk.Session, region: str, tokens: Mapping[str, str]) -> None:
        for variable, token in sorted(tokens.items()):
            # Uploads of a seed became visible together with their array.
            seed = self.uploads.forks.token(token, variable, region).seed
            if seed is None or get(session.store, f"{variable}/{ROOT}") is None:
                session.merge(self.uploads.forks.to_merge(token, variable, region))

    def _publish_unseen(
        self,
        folder: Path,
        staged: Sequence[StagedRegion],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> None:
        """Make whole arrays visible in one commit, and nothing else of their regions."""
        repository = self.repository.open()
        merged = merged_in(repository, self.repository.branch)
        session = repository.writable_session(self.repository.branch)
        seeds: dict[str, str | None] = {}
        for region in staged:
            seen = {n: t for n, t in region.tokens.items() if n not in region.unseen}
            if seen and merged.get(region.name) != digest_of(replace(region, tokens=seen)):
                raise PublishConflict(
                    f"the region from position {region.name} has uploads that are not published: "
                    "nothing was added; run an update, then this again"
                )
            for name in sorted(region.tokens.keys() - seen):
                token = region.tokens[name]
                seed = self.uploads.forks.token(token, name, region.name).seed
                if seeds.setdefault(name, seed) != seed:
                    raise PublishConflict(
                        f"some uploads of {name} began from a snapshot that has expired since: "
                        "nothing was added; run again without --start and --end to replace them"
                    )
                session.merge(self.uploads.forks.to_merge(token, name, region.name))
            merged[region.name] = digest_of(region)
        check()
        write_metadata(session.store, folder, merged=seeds)
        set_all(session.store, values)
        commit(repository, session, message, merged)

    def _publish_metadata(
        self,
        folder: Path,
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> bool:
        repository = self.repository.open()
        session = repository.writable_session(self.repository.branch)
        check()
        write_metadata(session.store, folder)
        set_all(session.store, values)
        if not session.has_uncommitted_changes:
            return False
        merged = merged_in(repository, self.repository.branch)
        commit(repository, session, message or "Update metadata", merged)
        return True

    def truncate(self, folder: Path, append_dim: str, message: str = "") -> int:
        """Shorten what readers see, in one commit; see `FinalStore.truncate`.

        Earlier versions keep what they had: what the new one lacks is deleted by `collect_garbage`
        once they are expired.
        """
        arrays = arrays_in(folder)

        def cut() -> int:
            repository = self.repository.open()
            session = repository.writable_session(self.repository.branch)
            beyond = [
                key
                for name, array in arrays.items()
                if (first := first_object_beyond(array, append_dim)) is not None
                for key in keys_below(session.store, f"{name}/")
                if not key.endswith(ROOT) and int(key.split("/")[2 + first[0]]) >= first[1]
            ]
            for key in beyond:
                sync(session.store.delete(key))
            write_metadata(session.store, folder)
            length = arrays[append_dim]["shape"][0]
            held = merged_in(repository, self.repository.branch).items()
            merged = {name: digest for name, digest in held if int(digest.split()[-1]) <= length}
            commit(repository, session, message or f"Truncate {append_dim} to {length}", merged)
            return len(beyond)

        return patiently(cut)

    def remove_arrays(
        self,
        folder: Path,
        names: Collection[str],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> bool:
        """Commit an archive without some of its arrays; whether it had any of them.

        What the branch holds of each region is restated: else all that the others brought would
        count as not published yet.
        """
        repository = self.repository.open()
        session = repository.writable_session(self.repository.branch)
        there = [name for name in names if get(session.store, f"{name}/{ROOT}") is not None]
        if not there:
            return False
        arrays = array_metadata(read_metadata(session.store))
        merged = merged_in(repository, self.repository.branch)
        for record in self.uploads.tracker.all_records():
            before, after = digests_without(
                record, arrays.keys(), names, merged.get(record.region.name)
            )
            if before is not None and before == merged.get(record.region.name):
                merged[record.region.name] = after
        check()
        for name in there:
            sync(session.store.delete_dir(name))
        write_metadata(session.store, folder)
        set_all(session.store, values)
        commit(repository, session, message, merged)
        return True


def commit(
    repository: icechunk.Repository,
    session: icechunk.Session,
    message: str,
    merged: Mapping[str, str],
) -> None:
    """Commit; what others committed meanwhile stays, and must not be of the same objects."""
    solver = icechunk.ConflictDetector()
    branch = str(session.branch)
    said = said_of_merged(repository, merged, branch)
    try:
        session.commit(message, said, rebase_with=solver, rebase_tries=10)
    except (icechunk.ConflictError, icechunk.RebaseFailedError, icechunk.IcechunkError) as error:
        # Where an answer got lost, the next attempt meets what it was about.
        tip = next(iter(repository.ancestry(branch=branch)))
        if tip.message == message and tip.metadata == said:
            return
        if not isinstance(error, icechunk.ConflictError | icechunk.RebaseFailedError):
            raise
        raise PublishConflict(
            f"another committer changed what this publication changes ({one_line(error)}): "
            "nothing was published; look at the branch's last commits, and run again"
        ) from None
