"""What pages of listings say, as real servers write them."""

from __future__ import annotations

import pytest

from gridmill.sources.listings.pages import (
    ListingMalformed,
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


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><h1>Please log in</h1><a href='/login'>here</a></body></html>",
        "<html><head><title>Maintenance</title></head><body></body></html>",
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
    [b"<Error><Code>AccessDenied</Code></Error>", b"{}", S3.encode()[:300]],
    ids=["error", "json", "half"],
)
def test_another_answer_of_a_bucket_is_no_empty_folder(content):
    """Errors that come with 200, and pages that are cut."""
    with pytest.raises(ListingMalformed):
        page_of_bucket(content, "")
