"""Lists the external links of the site: building it needs no network, so nothing follows them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# Beside the pages: a line an address, with the pages that link there.
LISTED = "external-links.txt"


def setup(app: Sphinx) -> dict[str, Any]:
    """Have them listed when all pages are written."""
    app.connect("build-finished", write_list)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_list(app: Sphinx, error: Exception | None) -> None:
    """Write the list, sorted by address."""
    if error is not None or app.builder.format != "html":
        return
    found = defaultdict(set)
    for page in app.env.found_docs:
        for link in app.env.get_doctree(page).findall(nodes.reference):
            if link.get("refuri", "").startswith(("http://", "https://")):
                found[link["refuri"]].add(page)
    lines = [f"{url}  {' '.join(sorted(pages))}\n" for url, pages in sorted(found.items())]
    Path(app.outdir, LISTED).write_text("".join(lines))
