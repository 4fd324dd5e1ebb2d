"""Files as providers serve them: compressed, or members of a zip or tar."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridmill import DownloadFailed, DownloadSettings
from gridmill.model.files.versions import checksum_of_file, is_on_disk
from gridmill.sources.wrapped import streams
from gridmill.sources.wrapped.fetching import fetch_unwrapped
from gridmill.sources.wrapped.wrapping import Wrapping
from gridmill.testing import ArchiveServer

# Neither one block nor a repetition, so that streams are read in parts.
CONTENT = np.random.default_rng(7).integers(0, 64, 1_300_000, "uint8").tobytes() + b"end"
ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
QUICK = {"attempts": 1, "wait_initial_s": 0.01}


def zstd(content: bytes) -> bytes:
    """Compress as `zstd` does; the test is left out where nothing can."""
    module = pytest.importorskip(ZSTD)
    options = {module.CompressionParameter.checksum_flag: 1}  # as the command does by itself
    return module.compress(content, options=options)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    """Return a tar, with a folder and a link beside its files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as opened:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE):
            info = tarfile.TarInfo(f"of-type-{kind.decode()}")
            info.type, info.linkname = kind, "/etc/hostname"
            opened.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return out.getvalue()


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}
ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda members: tarred(members, "w:gz"),
    "tar.bz2": lambda members: tarred(members, "w:bz2"),
    "tar.xz": lambda members: tarred(members, "w:xz"),
    "tar.zst": lambda members: zstd(tarred(members)),
}
ONE = {"a/the file.bin": CONTENT}


def declared(form: str) -> Any:
    """Return the compression that an author declares of an archive file."""
    return form.partition(".")[0]


class Provider:
    """Serves one file at a time, and says what a fetch of it leaves on disk."""

    def __init__(self, server: ArchiveServer, root: Path, folder: Path) -> None:
        self.server, self.root, self.folder = server, root, folder

    def fetch(
        self, name: str, content: bytes, wrapping: Wrapping | None = None, **settings: Any
    ) -> Any:
        """Serve a file, and fetch it."""
        (self.root / name).write_bytes(content)
        self.server.release_all()
        return fetch_unwrapped(
            f"{self.server.url}/{name}",
            self.folder / name,
            settings=DownloadSettings(**{**QUICK, **settings}),
            wrapping=wrapping or Wrapping(),
        )

    def refused(self, *args: Any, **kwargs: Any) -> str:
        """Say why a file is refused that arrived; nothing of it stays, and the error pickles."""
        with pytest.raises(DownloadFailed) as caught:
            self.fetch(*args, **kwargs)
        error = pickle.loads(pickle.dumps(caught.value))
        assert error.has_arrived
        assert args[0] in str(error)
        assert self.left() == []
        return str(error)

    def left(self) -> list[str]:
        """Return what lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def provider(tmp_path: Path):
    """A provider on loopback."""
    root, folder = tmp_path / "root", tmp_path / "folder"
    root.mkdir()
    folder.mkdir()
    with ArchiveServer(root) as server:
        yield Provider(server, root, folder)


@pytest.mark.parametrize("form", STREAMS)
@pytest.mark.parametrize("how", ["by name", "by content", "declared"])
def test_a_compressed_file_is_unpacked(provider, form, how):
    """Its path holds the content, and its identity is that of what came."""
    packed = STREAMS[form](CONTENT)
    name = f"a.bin.{form}" if how == "by name" else "a.bin"
    compression: Any = form if how == "declared" else how
    done = provider.fetch(name, packed, Wrapping(compression=compression))
    assert done.path.read_bytes() == CONTENT
    assert provider.left() == [done.path.name]
    assert how != "by name" or done.path.name == "a.bin"
    served = provider.root / name
    assert (done.nbytes, done.checksum) == (len(packed), checksum_of_file(served))
    assert is_on_disk(done.path, done.unpacked)
    assert not is_on_disk(done.path, done.checksum)


@pytest.mark.parametrize("form", STREAMS)
def test_several_streams_are_one_file(provider, form):
    """As pigz, pbzip2 and `cat` make them; zeros after the last are padding."""
    packed = STREAMS[form](CONTENT[:1000]) + STREAMS[form](CONTENT[1000:]) + bytes(512)
    assert provider.fetch(f"a.{form}", packed).path.read_bytes() == CONTENT


@pytest.mark.parametrize("form", ARCHIVES)
@pytest.mark.parametrize("how", ["by content", "declared"])
def test_the_only_file_of_an_archive_file_is_taken(provider, form, how):
    """Folders and links are no files; the path ends as the member's name does."""
    compression = declared(form) if how == "declared" else how
    packed = ARCHIVES[form](ONE)
    done = provider.fetch(f"a.{form}", packed, Wrapping(compression=compression))
    assert done.path.read_bytes() == CONTENT
    assert done.path.name == f"a.{form}-the_file.bin"
    assert provider.left() == [done.path.name]
    assert done.nbytes == len(packed)
    assert is_on_disk(done.path, done.unpacked)


MEMBERS = {"x/t2m.nc": b"t" * 2000, "./u10.nc": b"u" * 3000, "read me.txt": b"r"}


@pytest.mark.parametrize("form", ARCHIVES)
@pytest.mark.parametrize(
    ("member", "wanted"), [("x/t2m.nc", b"t"), ("u10.nc", b"u"), ("*u10*", b"u"), ("x/*", b"t")]
)
def test_a_member_is_taken_by_name_or_pattern(provider, form, member, wanted):
    """Of several files, the one that the author names."""
    wrapping = Wrapping(compression=declared(form), member=member)
    done = provider.fetch(f"a.{form}", ARCHIVES[form](MEMBERS), wrapping)
    assert set(done.path.read_bytes()) == set(wanted)


@pytest.mark.parametrize("form", ARCHIVES)
@pytest.mark.parametrize(
    ("member", "why"),
    [
        (None, "get_member() must name the one that is wanted"),
        ("*.nc", "2 of them are '*.nc', and get_member() must name one"),
        ("v10.nc", "0 of them are 'v10.nc', and get_member() must name one"),
    ],
)
def test_where_not_one_member_is_meant_all_are_listed(provider, form, member, why):
    """Nothing is taken on a guess."""
    wrapping = Wrapping(compression=declared(form), member=member)
    said = provider.refused(f"a.{form}", ARCHIVES[form](MEMBERS), wrapping)
    assert f"it holds 3 files ('x/t2m.nc', 'u10.nc', 'read me.txt'); {why}" in said


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_of_many_members_some_are_listed(provider, form):
    """An error stays readable."""
    members = {f"{number:03}": b"" for number in range(300)}
    said = provider.refused("a", ARCHIVES[form](members), Wrapping(compression=form))
    assert "it holds 300 files ('000', " in said
    assert "'009', …)" in said


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_a_member_that_is_compressed_is_unpacked(provider, form):
    """A tar of .gz files, as DWD makes them."""
    packed = ARCHIVES[form]({"a.grib2.gz": gzip.compress(CONTENT)})
    done = provider.fetch("a", packed, Wrapping(compression=declared(form)))
    assert done.path.read_bytes() == CONTENT
    assert done.path.name == "a-a.grib2"


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../../outside.bin", "/tmp/outside.bin", "..", "a/.."])
def test_no_member_leads_out_of_the_folder(provider, form, name):
    """A member's name says nothing of where it is written."""
    done = provider.fetch("a", ARCHIVES[form]({name: CONTENT}), Wrapping(compression=form))
    assert done.path.parent == provider.folder
    assert provider.left() == [done.path.name]
    assert done.path.read_bytes() == CONTENT


def wrapped(form: str) -> tuple[str, bytes, Wrapping]:
    """Return name, content and declaration of a file of a form."""
    if form in STREAMS:
        return f"a.{form}", STREAMS[form](CONTENT), Wrapping()
    return f"a.{form}", ARCHIVES[form](ONE), Wrapping(compression=declared(form))


@pytest.mark.parametrize("form", [*STREAMS, *ARCHIVES])
@pytest.mark.parametrize("share", [0.2, 0.97, "last bytes"])
def test_what_ends_early_is_refused(provider, form, share):
    """Also where all of the content is there, and only the end of the wrapping lacks."""
    name, packed, wrapping = wrapped(form)
    # A tar is padded with zeros to 10,240 bytes after its end.
    last = 10240 if form == "tar" else 3
    n = len(packed) - last if share == "last bytes" else int(share * len(packed))
    provider.refused(name, packed[:n], wrapping)


def test_a_tar_without_its_mark_of_the_end_is_refused(provider):
    """One that is cut between two members looks whole but for that."""
    packed = tarred({"a": b"a" * 1024, "b": b"b" * 1024})
    cut = packed[: packed.index(b"a" * 1024) + 1024]
    said = provider.refused("a", cut, Wrapping(compression="tar"))
    assert "ends without its mark of the end: it is not whole" in said


@pytest.mark.parametrize("form", [*STREAMS, *ARCHIVES])
def test_damage_never_gives_other_content_nor_another_error(provider, form):
    """Each form but tar carries a checksum, zstd's where the provider's tool adds one."""
    name, packed, wrapping = wrapped(form)
    draw = random.Random(form)
    for _ in range(12):
        damaged = bytearray(packed)
        at = draw.choice([draw.randrange(min(600, len(packed))), draw.randrange(len(packed))])
        damaged[at] ^= 1 << draw.randrange(8)
        done = None
        with suppress(DownloadFailed):
            done = provider.fetch(name, bytes(damaged), wrapping)
        if done is None:
            assert provider.left() == []
            continue
        found = done.path.read_bytes()
        done.path.unlink()
        is_bare = wrapping.compression == "by name" and found == bytes(damaged)  # no magic any more
        assert is_bare or form == "tar" or found == CONTENT


@pytest.mark.parametrize("form", [*STREAMS, *ARCHIVES])
def test_a_bomb_is_refused(provider, form):
    """What unpacks to more than the bound is not written beyond it."""
    name, _, wrapping = wrapped(form)
    content = bytes(10_000_000)
    packed = STREAMS[form](content) if form in STREAMS else ARCHIVES[form]({"a": content})
    said = provider.refused(name, packed, wrapping, most_unpacked_nbytes=3_000_000)
    assert "more than most_unpacked_nbytes=3,000,000 bytes" in said
    assert "raise the bound in DownloadSettings" in said


@pytest.mark.parametrize("form", ["tar.gz", "tar.xz"])
def test_a_bomb_beside_the_member_is_refused(provider, form):
    """A tar is read to its end, whatever is wanted of it."""
    packed = ARCHIVES[form]({"a": b"small", "b": bytes(10_000_000)})
    wrapping = Wrapping(compression="tar", member="a")
    said = provider.refused("a", packed, wrapping, most_unpacked_nbytes=3_000_000)
    assert "most_unpacked_nbytes" in said


def test_a_tar_with_an_endless_name_is_refused(provider):
    """Names are read into memory at once, so that their size is bounded."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2_000_000
    packed = info.tobuf(tarfile.GNU_FORMAT) + bytes(3_000_000)
    said = provider.refused("a", packed, Wrapping(compression="tar"))
    assert "a header of 2,000,000 bytes" in said


def test_xz_may_not_ask_for_gigabytes(provider, monkeypatch):
    """The memory that a header asks for is bounded."""
    monkeypatch.setattr(streams, "MOST_XZ_NBYTES", 1 << 20)
    assert "emory" in provider.refused("a.xz", lzma.compress(CONTENT, preset=6))


@pytest.mark.parametrize(
    "content", [b"GRIB" + CONTENT + b"7777", b"CDF" + bytes(40), b"PK\x03\x04"]
)
@pytest.mark.parametrize("name", ["a.grib2", "a.nc.gz", "a.zip", "a"])
def test_what_is_not_compressed_stays(provider, name, content):
    """By default nothing is unpacked but where name and content agree."""
    if content.startswith(b"CDF"):
        content = CONTENT
    done = provider.fetch(name, content)
    assert done.path == provider.folder / name
    assert done.path.read_bytes() == content
    assert done.unpacked is None


@pytest.mark.parametrize(
    ("name", "compression"), [("a.nc", "by name"), ("a.tar.gz", "by name"), ("a.gz", "none")]
)
def test_compressed_content_stays_where_the_name_or_the_author_says_so(provider, name, compression):
    """A tar is never half unpacked, and "none" leaves everything."""
    packed = gzip.compress(CONTENT)
    done = provider.fetch(name, packed, Wrapping(compression=compression))
    assert done.path.read_bytes() == packed


def test_what_is_declared_must_come(provider):
    """A file that begins otherwise is refused."""
    said = provider.refused("a.gz", b"GRIB" + CONTENT, Wrapping(compression="gz"))
    assert "it begins with b'GRIB" in said
    assert "which is not gz" in said


def test_a_member_of_what_has_none_is_refused(provider):
    """Whoever names a member does not get something else."""
    wrapping = Wrapping(compression="by content", member="a.nc")
    said = provider.refused("a", gzip.compress(CONTENT), wrapping)
    assert "it has no members, and get_member() names 'a.nc'" in said


@pytest.mark.parametrize("name", ["a.grib2.gz", "b.gz"])
def test_what_counts_as_a_file_is_asked_of_what_was_unpacked(provider, name):
    """`expect`, `min_nbytes` and wholeness are of the format, not of its wrapping."""
    grib = b"GRIB" + CONTENT + b"7777"
    done = provider.fetch(name, gzip.compress(grib), expect="grib", min_nbytes=1_000_000)
    assert done.path.read_bytes() == grib
    done.path.unlink()
    assert "not whole GRIB" in provider.refused(name, gzip.compress(grib[:-1]), expect="grib")
    assert "not whole GRIB" in provider.refused(name, grib[:-1], expect="grib")
    assert "min_nbytes=5" in provider.refused(name, gzip.compress(b"GRIB"), min_nbytes=5)
    hdf5 = b"\x89HDF\r\n\x1a\n" + bytes((2, 8, 8, 0)) + bytes(16) + (9999).to_bytes(8, "little")
    assert "needs 9,999" in provider.refused(name, gzip.compress(hdf5))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_zips_are_read_whatever_their_method(provider, method):
    """But for lzma, whose memory nothing bounds."""
    done = provider.fetch("a", zipped(ONE, method), Wrapping(compression="zip"))
    assert done.path.read_bytes() == CONTENT
    done.path.unlink()
    said = provider.refused("a", zipped(ONE, zipfile.ZIP_LZMA), Wrapping(compression="zip"))
    assert "is compressed by zip's method 14" in said


def test_without_a_decoder_of_zstd_the_extra_is_named(provider, monkeypatch):
    """What the environment lacks is no fault of the file."""
    monkeypatch.setitem(sys.modules, ZSTD, None)
    with pytest.raises(ImportError, match=r"pip install 'gridmill\[zstd\]'"):
        provider.fetch("a.zst", b"\x28\xb5\x2f\xfd" + CONTENT)
    assert provider.left() == []


def test_a_declaration_that_cannot_be_is_refused():
    """The error names the value and what is possible."""
    with pytest.raises(ValueError, match="compression='gzip' is not known; give one of 'by name'"):
        Wrapping(compression="gzip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="member='a' needs a file with members"):
        Wrapping(compression="gz", member="a")
