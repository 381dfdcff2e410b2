"""The call sheet on paper: text for a terminal, and one page of HTML that nothing can break out of."""

from html.parser import HTMLParser

import pytest

from probe.core.callsheet import CallSheet, Sample
from probe.issues import as_html, as_text

EVIL = "</code><script>alert(1)</script>\x1b[2J\x07“\ud800”"
SHEET = CallSheet(
    title="Critical Issue: main",
    issue="main-1",
    stage="open",
    call="+1 555 0100",
    do=("Call.", "Say what stands below. " + "word " * 60),
    say=(("Company", "Acme & Sons"), ("Contact name", "Nina")),
    description=("It has been Unavailable.",),
    samples=(Sample(title="smtp at noon", reply=EVIL, message_id="1.0.smtp.main.here"),),
    ruled_out=("The control dns worked.",),
    status_page=(EVIL,),
    owed=("pending: call",),
    made="Made now.",
)
EMPTY = CallSheet(
    title="t", issue="i", stage="open", call="c", do=(), say=(), description=(), samples=(), ruled_out=(),
    status_page=(), owed=(), made="m",
)  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, what they point to, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and whatever it would load or run."""
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href", "style") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """Whatever a broken server replied is text on it, and no address of anything stands in it."""
    page = as_html(SHEET)
    reader = Reader()
    reader.feed(page)
    assert "script" not in reader.tags
    assert reader.links == []
    assert "url(" not in page
    assert "//" not in page
    assert "</code><script>alert(1)</script>" in reader.text
    assert "Acme & Sons" in reader.text
    assert "default-src 'none'" in page
    page.encode("utf-8")


def test_the_text_can_steer_no_terminal() -> None:
    """Control characters are taken out, and lines are folded under their own beginning."""
    text = as_text(SHEET)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "CALL: +1 555 0100" in text
    assert "Company:        Acme & Sons" in text
    assert max(map(len, text.splitlines())) <= 96
    assert "\n   word" in text
    text.encode("utf-8")


@pytest.mark.parametrize("render", [as_text, as_html])
def test_an_empty_sheet_says_that_nothing_is_known(render: object) -> None:
    """No section breaks for want of content."""
    assert callable(render)
    page = render(EMPTY)
    assert "nothing is known of it" in page
    assert "Verbatim" not in page
    assert "VERBATIM" not in page
