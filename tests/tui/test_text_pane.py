from scd_tui.tui.ink import Line, wrap
from scd_tui.tui.text_pane import links_of

ADDRESS = "https://www.neuronpedia.org/gpt2-small/11-res_post_32k-oai/1154"


def test_an_address_is_a_link_whole_or_broken_over_lines() -> None:
    before: list[Line] = [(("words https://no.link in them", "text"),), ()]
    for width in (80, 40, 20, len(ADDRESS)):
        lines = [*before, *wrap([(ADDRESS, "dim")], width), *wrap([("what follows", "dim")], width)]
        found = links_of(lines, width)
        assert {address for line in found.values() for address in line.values()} == {ADDRESS}
        assert "".join(text for y in sorted(found) for text in found[y]) == ADDRESS


def test_what_is_no_plain_address_is_no_link() -> None:
    for text in ("http://x.y", "https://a b", "https://x\x1b]8;;", "https://é.x", "javascript:x"):
        assert links_of([((text, "dim"),)], 80) == {}
