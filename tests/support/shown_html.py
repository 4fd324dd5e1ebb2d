"""What a browser shows of HTML, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Text(HTMLParser):
    """Collects text and elements, and checks that what is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.counts, self.open = "", {}, []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        """Open an element."""
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Count an element that is closed at once."""
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        """Close the innermost element."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Take in text."""
        self.text += data
