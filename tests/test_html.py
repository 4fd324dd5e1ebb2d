"""The pieces of HTML hold together whatever is put into them."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from gridmill.html import badge, card, details, facts, lines, page, section, table

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


# What a parser makes of these is its own affair, and no name, URL or error holds them.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), st.lists(TEXT))
def test_no_text_becomes_markup(title, about, items, texts):
    """A name, URL or error that looks like HTML is shown as it is, in a card and on a page."""
    for whole in (card, page):
        shown = read(
            whole(
                title,
                about,
                section(title, facts(items), lines(texts, "bad")),
                details(about, table(["a", title], [(text, about) for text in texts])),
                badge(title, "good"),
            )
        )
        assert not shown.seen & {"script", "b", "img"}
        for text in (title, about, *texts, *(str(fact) for fact in items.values())):
            assert text in shown.text


def test_what_is_dangerous_is_escaped():
    """A source file's URL cannot run a script in the page that names it."""
    html = page("<script>", "&", facts({"a": "<script>alert(1)</script>"}))
    assert "script" not in read(html).seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_pieces_nest():
    """What a piece returns is not escaped again."""
    html = card("x", badge("done", "good"), table(["a"], [[badge("late", "warning")]]))
    assert html.count('class="gm-badge') == 2


def test_a_page_stands_alone():
    """It names nothing that would have to be fetched."""
    html = page("x", "y", section("z", "a"))
    assert html.startswith("<!doctype html>")
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_a_fact_with_nothing_to_say_is_left_out():
    """None and empty texts are; a zero is not."""
    assert read(str(facts({"a": None, "b": "", "c": 0}))).text.split() == ["c0"]
