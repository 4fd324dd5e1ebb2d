"""Credentials for source hosts, against servers on loopback that demand them."""

from __future__ import annotations

import json
import logging
import pickle
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed.protocol.pickle import dumps

from gridmill import ApiKey, BearerToken, DownloadSettings, Login, S3Access
from gridmill.sources.fetch.credentials import keeper as keeping
from gridmill.sources.fetch.credentials import reading
from gridmill.sources.fetch.credentials.access import kept_by, using
from gridmill.sources.fetch.credentials.keeper import Secret
from gridmill.sources.fetch.credentials.reading import CredentialMissing, read_credential
from gridmill.sources.fetch.credentials.rules import Credential
from gridmill.sources.fetch.download import DownloadFailed, NotAvailable, identify, read
from gridmill.sources.racing import quickest
from gridmill.testing import S3Server
from guarded import Guarded, LoginServer

TOKEN = "tok-5f3a9c-first"
RENEWED = "tok-77ab01-second"
ONCE = DownloadSettings(attempts=3, wait_initial_s=0.01)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file."""
    root = tmp_path / "files"
    root.mkdir()
    (root / "a.bin").write_bytes(b"what the provider has")
    return root


@pytest.fixture
def serving() -> Iterator[Any]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def asked_with(
    rules: Sequence[Credential], url: str, settings: DownloadSettings = ONCE, times: int = 1
) -> list[Any]:
    """Fetch a URL as the download stage does, some times; what came of each."""
    access, keeper = kept_by(rules)
    found: list[Any] = []
    for _ in range(times):
        with using(access):
            try:
                found.append(read(url, settings=settings))
            except (DownloadFailed, NotAvailable) as error:
                found.append(error)
    assert keeper.id == access.keeper
    return found


def command(path: Path, script: str) -> tuple[str, ...]:
    """Write a program that prints a credential; how it is called."""
    path.write_text(script)
    return (sys.executable, str(path))


def in_turn(path: Path, values: Sequence[str]) -> tuple[str, ...]:
    """A program that prints the next value each time, and then the last for ever."""
    return command(
        path,
        f"import pathlib\ncount = pathlib.Path({str(path) + '.count'!r})\n"
        "n = len(count.read_text()) if count.exists() else 0\n"
        f"count.write_text('x' * (n + 1))\nprint({list(values)!r}[min(n, {len(values) - 1})])\n",
    )


def calls(path: Path) -> int:
    """How often such a program was called."""
    return len(Path(f"{path}.count").read_text())


def test_a_token_from_the_environment_is_sent_to_its_host(files, serving, monkeypatch):
    """The declared host gets it, as a bearer token."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, valid=[TOKEN]))
    rules = [BearerToken(server.url, env="EXAMPLE_TOKEN")]
    assert asked_with(rules, f"{server.url}/a.bin") == [b"what the provider has"]
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_an_operator_finds_out_that_a_credential_is_asked_for(files, serving):
    """A host for which nothing is declared refuses, and the error says what to declare."""
    server = serving(Guarded(files, valid=[TOKEN]))
    (error,) = asked_with([], f"{server.url}/a.bin")
    assert "none is declared for it, see RegionJob.credentials" in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize("where", ["header", "query"])
def test_an_api_key_is_sent_in_a_header_or_in_the_query(files, serving, monkeypatch, where):
    """And is not in the error of a file that is not there, whatever its parameter is called."""
    monkeypatch.setenv("EXAMPLE_KEY", "k&y of/mine")
    server = serving(Guarded(files, where, ["k&y of/mine"], name="appid"))
    rules = [ApiKey(server.url, env="EXAMPLE_KEY", **{where: "appid"})]
    found = asked_with(rules, f"{server.url}/a.bin?var=t&appid=old")
    assert found == [b"what the provider has"]
    (absent,) = asked_with(rules, f"{server.url}/none?var=t")
    assert isinstance(absent, NotAvailable)
    assert "mine" not in str(absent) + repr(absent)


def test_a_wrong_token_is_one_error_and_one_request(files, serving, monkeypatch):
    """It names host, place and next step; other files are not asked for with it."""
    monkeypatch.setenv("EXAMPLE_TOKEN", "wrong-token")
    server = serving(Guarded(files, valid=[TOKEN]))
    rules = [BearerToken(server.url, env="EXAMPLE_TOKEN")]
    first, *others = asked_with(rules, f"{server.url}/a.bin", times=20)
    assert "HTTP 401 Unauthorized from 127.0.0.1: the bearer token from the environment" in str(
        first
    )
    assert "EXAMPLE_TOKEN is refused; put a valid one there" in str(first)
    assert first.attempts == 1
    assert {str(other) for other in others} == {str(first)}
    assert server.statuses == [401]
    assert "wrong-token" not in repr([first, *others])


def test_many_threads_try_a_wrong_token_once(files, serving, monkeypatch):
    """A provider that locks accounts after some failures sees one."""
    monkeypatch.setenv("EXAMPLE_TOKEN", "wrong-token")
    server = serving(Guarded(files, valid=[TOKEN]))
    access, keeper = kept_by([BearerToken(server.url, env="EXAMPLE_TOKEN")])

    def one(_: int) -> None:
        with using(access), pytest.raises(DownloadFailed):
            read(f"{server.url}/a.bin", settings=ONCE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))
    assert server.statuses == [401]
    assert keeper.rules


def test_an_expired_token_is_asked_for_again(files, serving, tmp_path):
    """The command is called once more, for all files that wait for it."""
    server = serving(Guarded(files, valid=[TOKEN]))
    program = tmp_path / "token.py"
    rules = [BearerToken(server.url, command=in_turn(program, [TOKEN, RENEWED]))]
    access, keeper = kept_by(rules)

    def one(_: int) -> bytes:
        with using(access):
            return read(f"{server.url}/a.bin", settings=ONCE)

    assert one(0)
    server.valid = {RENEWED}
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {b"what the provider has"}
    assert calls(program) == 2
    assert 1 <= server.statuses.count(401) <= 8
    assert keeper.rules


def test_a_command_that_prints_nothing_valid_is_called_a_few_times(files, serving, tmp_path):
    """New tokens that are all refused end: neither command nor provider are called for ever."""
    server = serving(Guarded(files, valid=[TOKEN]))
    program = tmp_path / "token.py"
    wrong = [f"wrong-token-{n}" for n in range(50)]
    rules = [BearerToken(server.url, command=in_turn(program, wrong))]
    found = asked_with(rules, f"{server.url}/a.bin", times=30)
    assert all(isinstance(error, DownloadFailed) for error in found)
    assert calls(program) <= keeping.MOST_FRUITLESS + 1
    assert len(server.asked) <= keeping.MOST_FRUITLESS + 1


def test_what_was_refused_is_tried_again_later(files, serving, monkeypatch):
    """A resident service takes the token that somebody put there in the meantime."""
    monkeypatch.setattr(keeping, "LEFT_ALONE_S", 0.0)
    monkeypatch.setenv("EXAMPLE_TOKEN", "wrong-token")
    server = serving(Guarded(files, valid=[TOKEN]))
    access, keeper = kept_by([BearerToken(server.url, env="EXAMPLE_TOKEN")])
    with using(access):
        for _ in range(2 * keeping.MOST_FRUITLESS):
            with pytest.raises(DownloadFailed):
                read(f"{server.url}/a.bin", settings=ONCE)
        monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
        assert read(f"{server.url}/a.bin", settings=ONCE)
    assert keeper.rules


def test_one_forbidden_file_does_not_stop_the_others(files, serving, monkeypatch):
    """A 403 for one file says nothing of a token that others were given for."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, valid=[TOKEN], refusal=403))
    rules = [BearerToken(server.url, env="EXAMPLE_TOKEN")]
    access, keeper = kept_by(rules)
    with using(access):
        assert read(f"{server.url}/a.bin", settings=ONCE)
        server.valid = set()
        for _ in range(3):
            with pytest.raises(DownloadFailed, match="for other files"):
                read(f"{server.url}/a.bin", settings=ONCE)
        server.valid = {TOKEN}
        assert read(f"{server.url}/a.bin", settings=ONCE)
    assert server.statuses == [200, 403, 403, 403, 200]
    assert keeper.rules


def test_forbidden_may_still_mean_absent(files, serving, monkeypatch):
    """Where the author says so, with a credential as without."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, refusal=403))
    settings = DownloadSettings(forbidden_means_absent=True)
    rules = [BearerToken(server.url, env="EXAMPLE_TOKEN")]
    (error,) = asked_with(rules, f"{server.url}/a.bin", settings)
    assert isinstance(error, NotAvailable)


def test_redirects_to_another_host_carry_nothing_along(files, serving, monkeypatch):
    """Neither token nor key nor a header of the author, though the server repeats the key."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    other = serving(Guarded(files, "bearer", [""]))
    first = serving(Guarded(files, valid=[TOKEN], elsewhere=other.url))
    settings = DownloadSettings(headers={"X-My-Key": "abcdefgh"})
    rules = [BearerToken(first.url, env="EXAMPLE_TOKEN")]
    found = asked_with(rules, f"{first.url}/a.bin", settings)
    assert found == [b"what the provider has"]
    assert first.asked[0].headers["X-My-Key"] == "abcdefgh"
    assert TOKEN not in repr(other.asked)
    assert "abcdefgh" not in repr(other.asked)


def test_a_key_that_a_server_repeats_in_its_redirect_stays_there(files, serving, monkeypatch):
    """A query parameter with a secret is left out on the way to another host."""
    monkeypatch.setenv("EXAMPLE_KEY", "key-123456")
    other = serving(Guarded(files, "bearer", [""]))
    first = serving(Guarded(files, "query", ["key-123456"], name="appid"))

    def repeats(asked: Any) -> Any:
        key = asked.query["appid"][0]
        return 302, {"Location": f"{other.url}{asked.path}?appid={key}&var=t"}, b""

    first.file = repeats
    rules = [ApiKey(first.url, query="appid", env="EXAMPLE_KEY")]
    assert asked_with(rules, f"{first.url}/a.bin") == [b"what the provider has"]
    assert other.asked[0].query == {"var": ["t"]}


def test_a_host_without_http_in_its_rule_gets_nothing_in_the_clear(files, serving, monkeypatch):
    """A rule is for https unless it says http, also where a redirect leads."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, valid=[TOKEN]))
    rules = [BearerToken(server.url.removeprefix("http://"), env="EXAMPLE_TOKEN")]
    (error,) = asked_with(rules, f"{server.url}/a.bin")
    assert "HTTP 401" in str(error)
    assert TOKEN not in repr(server.asked)


def test_an_endless_redirect_ends(files, serving):
    """With an error that says so."""
    server = serving(Guarded(files, "bearer", [""]))
    server.elsewhere = server.url
    (error,) = asked_with([], f"{server.url}/a.bin")
    assert "more than 10 redirects" in str(error)


@pytest.mark.parametrize("scheme", ["", "ftp"])
def test_a_one_time_code_in_a_redirect_is_not_shown(files, serving, scheme):
    """Whatever the server calls it; where the redirects do not end, or lead to another scheme."""
    server = serving(Guarded(files, "bearer", [""]))
    target = server.url.replace("http", scheme or "http")

    def redirects(asked: Any) -> Any:
        return 302, {"Location": f"{target}{asked.path}?code=hush-hush&state=hush#hush"}, b""

    server.file = redirects
    (error,) = asked_with([], f"{server.url}/a.bin")
    assert f"{target}/a.bin?code=***&state=***" in str(error)
    assert "hush" not in all_that_it_holds(error)


def earthdata(files: Path, serving: Any, password: str = "pass-word-1") -> tuple[Any, Any, str]:
    """A data server that sends who asks to a login server of another name, and back."""
    login = serving(LoginServer(files, [f"me:{password}"]))
    data = serving(Guarded(files, "session"))
    at = login.url.replace("127.0.0.1", "localhost")
    data.login, login.issues_to = at, data
    return data, login, at


def netrc(path: Path, password: str) -> Path:
    """Write a netrc file with a login for localhost."""
    path.write_text(f"machine localhost login me password {password}\n")
    return path


def test_a_login_by_netrc_goes_to_another_host_and_back(files, serving, tmp_path, monkeypatch):
    """As for NASA's Earthdata: one login for many files; the password is for the login host."""
    monkeypatch.setenv("NETRC", str(netrc(tmp_path / "netrc", "pass-word-1")))
    data, login, at = earthdata(files, serving)
    found = asked_with([Login(at)], f"{data.url}/a.bin", times=3)
    assert found == [b"what the provider has"] * 3
    assert login.statuses == [302]
    assert "Authorization" not in repr(data.asked)
    assert "Cookie" not in repr(login.asked)


def test_what_libraries_log_holds_no_code_of_a_login(files, serving, tmp_path, caplog):
    """No rule names it: it is made for this login, and opens the data server."""
    data, _, at = earthdata(files, serving)
    rules = [Login(at, netrc=str(netrc(tmp_path / "n", "pass-word-1")))]
    with caplog.at_level(logging.DEBUG):
        assert asked_with(rules, f"{data.url}/a.bin") == [b"what the provider has"]
    assert "code=***" in caplog.text
    assert not any(session in caplog.text for session in data.valid)


def test_a_session_that_ends_is_begun_again(files, serving, tmp_path):
    """The data server forgot it: another login, and the file comes."""
    data, login, at = earthdata(files, serving)
    access, keeper = kept_by([Login(at, netrc=str(netrc(tmp_path / "n", "pass-word-1")))])
    with using(access):
        for _ in range(2):
            assert read(f"{data.url}/a.bin", settings=ONCE)
            data.valid.clear()
    assert login.statuses == [302, 302]
    assert keeper.rules


def test_a_wrong_password_names_the_login_host(files, serving, tmp_path):
    """Earthdata locks an account after some failures: there is one."""
    data, login, at = earthdata(files, serving)
    rules = [Login(at, netrc=str(netrc(tmp_path / "n", "not-the-word")))]
    found = asked_with(rules, f"{data.url}/a.bin", times=5)
    assert "HTTP 401 Unauthorized from localhost: the login from netrc" in str(found[0])
    assert login.statuses == [401]
    assert "not-the-word" not in repr(found)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("machine elsewhere login me password x\n", "has no login for localhost"),
        ("machine localhost login me passwort hush-hush\n", "is no netrc file from line"),
    ],
)
def test_what_is_wrong_with_netrc_is_said_without_its_words(tmp_path, content, told):
    """No file, no login, or one that cannot be parsed."""
    path = tmp_path / "netrc"
    if content is not None:
        path.write_text(content)
    rules = [Login("http://localhost", netrc=str(path))]
    (error,) = asked_with(rules, "http://localhost/a")
    assert told in str(error)
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import sys; sys.exit('hush-hush')", "ended with exit code 1; run it yourself"),
        ("", "printed nothing"),
        ("print('a'); print('b')", "holds more than one line"),
    ],
)
def test_a_command_that_fails_is_named_without_what_it_says(tmp_path, script, told):
    """Its stderr may hold anything."""
    rules = [BearerToken("http://localhost", command=command(tmp_path / "c.py", script))]
    (error,) = asked_with(rules, "http://localhost/a")
    assert told in str(error)
    assert "hush" not in str(error)


def all_that_it_holds(error: BaseException) -> str:
    """An error as it is shown, printed and sent, with every error that it holds."""
    chain: list[BaseException | None] = [error]
    for one in chain:
        if one is not None:
            chain += [one.__cause__, one.__context__]
    shown = [repr([one.args, vars(one), str(one)]) for one in chain if one is not None]
    # With what distributed makes of it: the chain goes with it.
    return "".join([*shown, *traceback.format_exception(error), repr(dumps(error))])


SECRETS = {
    "bearer": ("hush-hush-tok\u2013en", BearerToken("http://localhost", env="HUSHED")),
    "header": ("hush-hush-k\xe9y", ApiKey("http://localhost", header="X-Own", env="HUSHED")),
    "command": (
        "hush-hush-tok\u2013en",
        BearerToken("http://localhost", command=("printenv", "HUSHED")),
    ),
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_that_no_header_carries_is_refused_and_not_shown(serving, monkeypatch, kind):
    """A dash that an office program made of two: the error names the place."""
    value, rule = SECRETS[kind]
    monkeypatch.setenv("HUSHED", value)
    (error,) = asked_with([rule], "http://localhost/a")
    assert "holds a character that is not ASCII" in str(error)
    assert rule.place in str(error)
    assert "hush-" not in all_that_it_holds(error)


def test_what_is_encoded_on_its_way_may_be_of_any_script(files, serving, monkeypatch):
    """A password, and a key in the query."""
    monkeypatch.setenv("ANY_KEY", "schl\xfcssel-\u2013")
    monkeypatch.setenv("ANY_LOGIN", "m\xfcller:pa\u2013ss")
    by_key = serving(Guarded(files, "query", ["schl\xfcssel-\u2013"], name="appid"))
    by_login = serving(Guarded(files, "basic", ["m\xfcller:pa\u2013ss"]))
    for server, rule in (
        (by_key, ApiKey(by_key.url, query="appid", env="ANY_KEY")),
        (by_login, Login(by_login.url, env="ANY_LOGIN")),
    ):
        assert asked_with([rule], f"{server.url}/a.bin") == [b"what the provider has"]


@pytest.mark.parametrize(
    ("where", "content", "told"),
    [
        ("netrc", b"machine localhost login m\xfcller password hush-hush\n", "n is not UTF-8"),
        ("netrc", b"machine localhost login me passwort hush-hush\n", "is no netrc file from line"),
        ("bearer", b"hush-hush-\xfc", "prints text that is not UTF-8"),
        ("s3", b'{"AccessKeyId": "hush-hush", "SecretAccessKey": 1', "must print JSON with"),
        (
            "s3",
            b'{"AccessKeyId": "a", "SecretAccessKey": "hush-\\ud800"}',
            "more than one line, or control characters",
        ),
    ],
)
def test_a_place_that_cannot_be_read_is_named_without_what_it_holds(tmp_path, where, content, told):
    """Neither in the error nor in one that it holds."""
    path = tmp_path / "n"
    path.write_bytes(content)
    shown = (sys.executable, "-c", f"print(end=''); import sys; sys.stdout.buffer.write({content})")
    rules = {
        "netrc": Login("http://localhost", netrc=str(path)),
        "bearer": BearerToken("http://localhost", command=shown),
        "s3": S3Access("s3://localhost", command=shown),
    }
    url = "s3://localhost/a" if where == "s3" else "http://localhost/a"
    (error,) = asked_with([rules[where]], url)
    assert told in str(error)
    assert "hush" not in all_that_it_holds(error)
    with pytest.raises(CredentialMissing) as caught:
        read_credential(rules[where], url)
    assert "hush" not in all_that_it_holds(caught.value)


def test_what_nobody_foresaw_is_named_by_its_type(monkeypatch):
    """Its own words may hold all that was read."""
    rule = Login("http://localhost", netrc="n")

    def fails(path: Any) -> Any:
        raise RuntimeError("hush-hush")

    monkeypatch.setattr(reading.netrc, "netrc", fails)
    (error,) = asked_with([rule], "http://localhost/a")
    assert "netrc (n) cannot be read (RuntimeError)" in str(error)
    assert "hush" not in all_that_it_holds(error)


@pytest.mark.parametrize("value", ["hush-hush-\u2013", "hush-hush\n"])
def test_an_authors_own_header_that_cannot_be_sent_is_not_shown(files, serving, value):
    """As where a token was read from a file, with the end of its line."""
    server = serving(Guarded(files, "bearer", [""]))
    settings = DownloadSettings(headers={"X-My-Key": value})
    (error,) = asked_with([], f"{server.url}/a.bin", settings)
    assert "correct DownloadSettings.headers" in str(error)
    assert "hush" not in all_that_it_holds(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush\u2013pw@localhost/a",
        "http://me:hush@[::1/a",
        "http://me:hush\u2100@localhost/a",
        "http://me:hush/pw@localhost/a",
        "ftp://me:hush/pw@localhost/a",
        "http://me:hush@localhost:no/a",
    ],
)
def test_a_login_in_an_address_is_not_shown_where_it_is_malformed(url):
    """Neither by its error nor by what that holds."""
    with pytest.raises(ValueError, match="is not a valid URL") as caught:
        asked_with([], url)
    assert "hush" not in all_that_it_holds(caught.value)


def test_a_key_in_the_query_is_in_no_error_of_a_host_that_is_not_there(monkeypatch):
    """Urllib3's own errors hold the whole address."""
    monkeypatch.setenv("EXAMPLE_KEY", "hush-hush")
    rules = [ApiKey("http://127.0.0.1:1", query="appid", env="EXAMPLE_KEY")]
    (error,) = asked_with(rules, "http://127.0.0.1:1/a", DownloadSettings(attempts=1))
    assert "NewConnectionError" in str(error)
    assert "hush" not in all_that_it_holds(error)


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    """With the rule that names it."""
    monkeypatch.delenv("EXAMPLE_TOKEN", raising=False)
    (error,) = asked_with(
        [BearerToken("http://localhost", env="EXAMPLE_TOKEN")], "http://localhost/a"
    )
    assert "the environment variable EXAMPLE_TOKEN is not set" in str(error)


def test_a_secret_does_not_pickle_and_does_not_show_itself():
    """So that it gets into no task by mistake."""
    secret = Secret("hush-hush", 1)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    assert "hush" not in repr(secret)


def test_a_worker_of_many_runs_keeps_the_credentials_of_the_last_ones():
    """One that lives for months forgets those of runs that ended, and none that is in use."""
    rules = [BearerToken("data.example.org", env="EXAMPLE_TOKEN")]
    owner, numbers = object(), [f"run-{n}" for n in range(3 * keeping.MOST_DISTANT)]
    keeping.ask_elsewhere(owner, lambda keeper, url, refusal: (1, f"token-of-{keeper}"))
    try:
        in_use = keeping.keeper_of("run-in-use", rules).secret(0, "https://data.example.org/a")
        for number in numbers:
            assert keeping.keeper_of(number, rules).secret(0, "https://data.example.org/a")
            again = keeping.keeper_of("run-in-use", rules)
            assert again.secret(0, "https://data.example.org/b") is in_use
        kept = [number for number in numbers if keeping.known_keeper(number) is not None]
        assert kept == numbers[1 - keeping.MOST_DISTANT :]
    finally:
        keeping.ask_elsewhere(owner, None)


def test_what_libraries_log_holds_no_key(files, serving, monkeypatch, caplog):
    """urllib3 says every URL to who asks it for everything."""
    monkeypatch.setenv("EXAMPLE_KEY", "key-123456")
    server = serving(Guarded(files, "query", ["key-123456"], name="appid"))
    with caplog.at_level(logging.DEBUG):
        asked_with([ApiKey(server.url, query="appid", env="EXAMPLE_KEY")], f"{server.url}/a.bin")
    assert "appid=***" in caplog.text
    assert "key-123456" not in caplog.text


# -- S3 -------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with an object, which nobody reads without a key."""
    import botocore.exceptions

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = s3_server._client()
    with suppress(botocore.exceptions.ClientError):  # another test made it
        client.create_bucket(Bucket="guarded")
    client.put_object(Bucket="guarded", Key="a.bin", Body=b"what the provider has")
    return "s3://guarded"


def at(server: S3Server) -> DownloadSettings:
    """Return how its endpoint is reached, by nobody."""
    options = {"endpoint_url": server.endpoint_url, "anon": True}
    return DownloadSettings(attempts=2, wait_initial_s=0.01, s3_options=options)


def test_keys_of_a_bucket_come_from_variables(s3_server, bucket, monkeypatch):
    """And go before what the settings say of who asks."""
    monkeypatch.setenv("THEIR_ID", s3_server.access_key)
    monkeypatch.setenv("THEIR_SECRET", s3_server.secret_key)
    rules = [S3Access(bucket, env=("THEIR_ID", "THEIR_SECRET"))]
    assert asked_with(rules, f"{bucket}/a.bin", at(s3_server)) == [b"what the provider has"]
    (error,) = asked_with([], f"{bucket}/a.bin", at(s3_server))
    assert "requester pays (declare an S3Access" in str(error)


def test_keys_of_a_bucket_come_from_a_profile(s3_server, bucket, tmp_path, monkeypatch):
    """Of the AWS configuration where the run is started."""
    path = tmp_path / "aws"
    path.write_text(
        f"[theirs]\naws_access_key_id = {s3_server.access_key}\n"
        f"aws_secret_access_key = {s3_server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    rules = [S3Access(bucket, profile="theirs")]
    assert asked_with(rules, f"{bucket}/a.bin", at(s3_server)) == [b"what the provider has"]
    (error,) = asked_with([S3Access(bucket, profile="none")], f"{bucket}/a.bin", at(s3_server))
    assert "the AWS profile none gives no keys" in str(error)


def test_keys_that_are_refused_are_renewed_by_the_command(s3_server, bucket, tmp_path):
    """What ran out is asked for again, as of a token."""
    keys = [
        {"AccessKeyId": "gone", "SecretAccessKey": "long-gone", "SessionToken": None},
        {"AccessKeyId": s3_server.access_key, "SecretAccessKey": s3_server.secret_key},
    ]
    program = tmp_path / "keys.py"
    rules = [S3Access(bucket, command=in_turn(program, [json.dumps(one) for one in keys]))]
    assert asked_with(rules, f"{bucket}/a.bin", at(s3_server)) == [b"what the provider has"]
    assert calls(program) == 2


def test_wrong_keys_are_one_error(s3_server, bucket, monkeypatch):
    """It names the bucket and the variables."""
    monkeypatch.setenv("THEIR_ID", s3_server.access_key)
    monkeypatch.setenv("THEIR_SECRET", "hush-hush")
    rules = [S3Access(bucket, env=("THEIR_ID", "THEIR_SECRET"))]
    found = asked_with(rules, f"{bucket}/a.bin", at(s3_server), times=3)
    assert "SignatureDoesNotMatch from s3://guarded: the access key from" in str(found[0])
    assert str(found[2]) == str(found[0])
    assert "hush" not in repr(found)


def test_requester_pays_is_said_with_each_request(files, serving):
    """A bucket of which it is declared; others are not told so."""
    (files / "pays").mkdir()
    (files / "pays" / "a.bin").write_bytes(b"what the provider has")
    server = serving(Guarded(files, "header", ["requester"], name="x-amz-request-payer"))
    settings = DownloadSettings(attempts=1, s3_options={"anon": True, "endpoint_url": server.url})
    rules = [S3Access("s3://pays", requester_pays=True)]
    assert asked_with(rules, "s3://pays/a.bin", settings) == [b"what the provider has"]
    (error,) = asked_with([], "s3://pays/a.bin", settings)
    assert isinstance(error, DownloadFailed)


def test_the_version_of_a_file_is_asked_for_with_the_credential(files, serving, monkeypatch):
    """As an update does to see what was revised."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, valid=[TOKEN]))
    access, keeper = kept_by([BearerToken(server.url, env="EXAMPLE_TOKEN")])
    with using(access):
        assert identify(f"{server.url}/a.bin", settings=ONCE).nbytes == 21
    assert keeper.rules


def test_mirrors_that_race_have_their_credentials(files, serving, monkeypatch):
    """Each is asked in a thread of its own."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    server = serving(Guarded(files, valid=[TOKEN]))
    access, keeper = kept_by([BearerToken(server.url, env="EXAMPLE_TOKEN")])
    url = f"{server.url}/a.bin"
    with using(access):
        found = quickest({url: partial(read, url, settings=ONCE)}, (DownloadFailed,))
    assert found == b"what the provider has"
    assert keeper.id == access.keeper
