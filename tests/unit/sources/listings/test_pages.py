"""What pages of listings say, as real servers write them."""

from __future__ import annotations

import pytest

from gridmill.sources.listings.pages import (
    ListingMalformed,
    Page,
    page_of_bucket,
    page_of_index,
    page_of_s3,
)

URL = "https://data.example.org/m/icon/2025-01-01T00%3A00/"
NGINX = """<html>
<head><title>Index of /m/icon/2025-01-01T00:00/</title></head>
<body>
<h1>Index of /m/icon/2025-01-01T00:00/</h1><hr><pre><a href="../">../</a>
<a href="lv1/">lv1/</a>                                               01-Jan-2025 03:00       -
<a href="PT000H00M.grib2">PT000H00M.grib2</a>            01-Jan-2025 03:00         1234567
<a href="a%2Bb%20c.grib2">a+b c.grib2</a>               01-Jan-2025 03:00         1234567
</pre><hr></body>
</html>
"""
APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head>
  <title>Index of /m/icon/2025-01-01T00:00</title>
 </head>
 <body>
<h1>Index of /m/icon/2025-01-01T00:00</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/m/icon/">Parent Directory</a></td></tr>
<tr><td><a href="lv1/">lv1/</a></td><td>2025-01-01 03:00</td><td>  - </td></tr>
<tr><td><a href="PT000H00M.grib2">PT000H00M.grib2</a></td><td>2025-01-01 03:00</td></tr>
<tr><td><a href="/m/icon/2025-01-01T00%3A00/a%2Bb%20c.grib2">a+b c.grib2</a></td></tr>
</table>
<address>Apache/2.4 Server at <a href="mailto:a@example.org">x</a></address>
</body></html>
"""  # noqa: E501
CADDY = """<!DOCTYPE html><html><head><title>2025-01-01T00:00</title></head><body>
<h1><a href="/">/</a><a href="/m/">m</a>/<a href="/m/icon/">icon</a>/2025-01-01T00:00</h1>
<input type="text" placeholder="filter"><a href="?sort=name&order=desc">Name</a>
<a href=".."><span class="goup">Up</span></a>
<a href="./lv1/"><svg><title>Folder</title></svg> <span class="name">lv1/</span></a>
<a href="./PT000H00M.grib2"><svg></svg> <span class="name">PT000H00M.grib2</span></a>
<a href="./a%2Bb%20c.grib2"><svg></svg> <span class="name">a+b c.grib2</span></a>
<a href="./all">Download all</a></body></html>
"""
LOGIN = """<html><head><title>Log in</title></head><body><a href="../">Back</a>{links}
<form method="post"><input name="user"><input type="Password" name="word"/></form></body></html>
"""
S3 = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
<Prefix>ABI/00/</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter>
<IsTruncated>{truncated}</IsTruncated>{token}
<Contents><Key>ABI/00/</Key><Size>0</Size></Contents>
<Contents><Key>ABI/00/a+b c.nc</Key><LastModified>2025-01-01T12:10:13.000Z</LastModified>
<ETag>&quot;abc&quot;</ETag><Size>1500000</Size><StorageClass>STANDARD</StorageClass></Contents>
<CommonPrefixes><Prefix>ABI/00/x/</Prefix></CommonPrefixes></ListBucketResult>
"""


@pytest.mark.parametrize("page", [NGINX, APACHE], ids=["nginx", "apache"])
def test_an_index_page_shows_what_is_right_in_the_folder(page):
    """Not its parent, not the links that sort, not the server's; names without their quoting."""
    found = page_of_index(page.encode(), URL)
    assert [(one.name, one.href) for one in found.entries] == [
        ("PT000H00M.grib2", "PT000H00M.grib2"),
        ("a+b c.grib2", "a%2Bb%20c.grib2"),
    ]
    assert found.folders == ("lv1",)
    assert found.following is None


def test_an_index_without_a_title_shows_its_files_by_name():
    """Beside a link to the folder above; here as Caddy writes it, with a link that is no file."""
    found = page_of_index(CADDY.encode(), URL)
    names = [one.name for one in found.entries]
    assert (names, found.folders) == (["PT000H00M.grib2", "a+b c.grib2", "all"], ("lv1",))


@pytest.mark.parametrize("page", [NGINX, APACHE], ids=["nginx", "apache"])
def test_an_index_that_is_empty_or_has_a_form_to_log_in_is_one(page):
    """By its title, and the names that it shows."""
    empty = "\n".join(line for line in page.splitlines() if "grib2" not in line)
    assert page_of_index(empty.replace("lv1", "../lv1").encode(), URL) == Page((), ())
    odd = page.replace("</body>", "<a href='http://[x/'>x</a></body>")
    assert page_of_index(odd.encode(), URL).folders == ("lv1",)
    form = "<form><input type=password></form></body>"
    assert page_of_index(page.replace("</body>", form).encode(), URL).folders == ("lv1",)


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><h1>Please log in</h1><a href='/login'>here</a></body></html>",
        "<html><head><title>Maintenance</title></head><body></body></html>",
        "<html><body>Maintenance: <a href='../'>Back</a></body></html>",
        "<html><h1>Not found</h1><a href='..'>Up</a> <a href='help.html'>Help</a></html>",
        LOGIN.format(links=""),
        LOGIN.format(links="<a href='register'>Register</a>"),
        LOGIN.format(links="<a href='register'>register</a>"),
        LOGIN.format(links="").replace("Log in", "Index of /m/icon/"),
        "",
    ],
)
def test_another_page_is_no_empty_folder(page):
    """A form to log in says nothing of what a folder holds."""
    with pytest.raises(ListingMalformed, match="no listing"):
        page_of_index(page.encode(), URL)


def test_a_page_of_a_bucket_tells_identity():
    """Size, ETag and date as a download tells them; names are quoted in addresses."""
    content = S3.format(truncated="false", token="").encode()
    (found,) = page_of_bucket(content, "ABI/00/").entries
    assert (found.name, found.href, found.nbytes) == ("a+b c.nc", "a%2Bb%20c.nc", 1_500_000)
    assert (found.etag, found.last_modified) == ('"abc"', "Wed, 01 Jan 2025 12:10:13 GMT")
    assert page_of_bucket(content, "ABI/00/").folders == ("x",)


def test_the_next_page_is_told():
    """By a token; a page that is truncated without one is a failure, and not the last."""
    token = "<NextContinuationToken>t/1=</NextContinuationToken>"
    page = page_of_bucket(S3.format(truncated="true", token=token).encode(), "ABI/00/")
    assert page.following == "t/1="
    with pytest.raises(ListingMalformed, match="truncated"):
        page_of_bucket(S3.format(truncated="true", token="").encode(), "ABI/00/")
    with pytest.raises(ListingMalformed, match="truncated"):
        page_of_s3({"IsTruncated": True}, "")


@pytest.mark.parametrize(
    "content",
    [
        b"<Error><Code>AccessDenied</Code></Error>",
        b"{}",
        S3.encode()[:300],
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
    ],
    ids=["error", "json", "half", "no key", "no size"],
)
def test_another_answer_of_a_bucket_is_no_empty_folder(content):
    """Errors that come with 200, and pages that are cut."""
    with pytest.raises(ListingMalformed):
        page_of_bucket(content, "")
