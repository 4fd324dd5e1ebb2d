"""Cards and pages hold together whatever is shown in them."""

from __future__ import annotations

from html.parser import HTMLParser

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from gridmill.display.facts.forms import Fact, Rows, Verdict
from gridmill.display.html import render

# Elements that are never closed.
VOID = {"meta"}


class Balanced(HTMLParser):
    """Collects text; fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        """Open an element."""
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the innermost element."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Take in text, but for the styles."""
        if "style" not in self.open:
            self.text += data


def read(html: str) -> Balanced:
    """Parse HTML; every element is closed."""
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def plan(**content) -> dict[str, object]:
    """Give what the page and the card of a plan need, which have every piece."""
    nothing = Rows(("region", "variables"), [])
    empty = {"facts": [], "warnings": [], "chart": "", "to_do": nothing, "skipped": nothing}
    return {"title": "x", "verdict": None, "about": "y", "most": 2, **empty, **content}


TEMPLATES = ("plan.html", "plan_card.html")
# What a parser makes of these is its own affair, and no name, URL or error holds them.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.lists(TEXT))
def test_no_text_becomes_markup(title, about, facts, texts):
    """A name, URL or error that looks like HTML is shown as it is, in a card and on a page."""
    content = plan(
        title=title,
        about=about,
        verdict=Verdict(about, "good"),
        facts=[Fact(*item) for item in facts.items()],
        warnings=texts,
        to_do=Rows(["a", title], [(text, about) for text in texts]),
    )
    for template in TEMPLATES:
        shown = read(render(template, content))
        assert not shown.seen & {"script", "b", "img"}
        for text in (title, about, *texts, *facts, *facts.values()):
            assert text in shown.text


def test_what_is_dangerous_is_escaped():
    """A source file's URL cannot run a script in the page that names it."""
    html = render("plan.html", plan(title="<script>", warnings=["<script>alert(1)</script>"]))
    assert "script" not in read(html).seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_an_address_cannot_leave_its_attribute():
    """A dashboard's link with a quotation mark stays one address."""
    stages = Rows(("stage", "done", "bytes", "now"), [])
    content = {"share": 0.5, "words": "", "tone": "good", "stages": stages, "failures": []}
    head = {"title": "x", "verdict": None, "about": "", "published": None}
    html = render("progress_card.html", {**head, **content, "dashboard": '"><b>'})
    assert "b" not in read(html).seen


def test_charts_and_verdicts_are_shown():
    """Markup is not escaped again, and a verdict in a cell is a badge."""
    row = ("a", Verdict("late", "warning"))
    content = plan(chart=Markup("<svg></svg>"), to_do=Rows(("region", "why"), [row]))
    for template in TEMPLATES:
        html = render(template, content)
        assert "svg" in read(html).seen
        assert html.count('class="gm-badge gm-warning"') == 1


def test_many_rows_are_behind_a_click():
    """A page shows the first rows, and all of them on demand."""
    rows = [(str(n), "") for n in range(1200)]
    html = render("plan.html", plan(to_do=Rows(("region", "why"), rows)))
    assert "all 1,200 regions" in html
    assert html.count("<tr>") == 2 + 2 + 1200


def test_a_page_stands_alone():
    """It names nothing that would have to be fetched."""
    html = render("plan.html", plan(facts=[Fact("a", "b")]))
    assert html.startswith("<!doctype html>")
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_what_a_template_lacks_is_an_error():
    """A misspelt name in a template, or a value that is not given, is not shown as nothing."""
    content = plan()
    del content["facts"]
    with pytest.raises(jinja2.UndefinedError, match="facts"):
        render("plan.html", content)
