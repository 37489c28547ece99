from pathlib import Path

import pytest

from ooc_app.provenance.links import LinksError, is_web_address, links

ADDRESS = "https://news.example/a b.jpg?x=1&y=2#z".replace(" ", "%20")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml [", "cannot be read"),
        ("link = 3", "no list of tables"),
        ("[[link]]\nurl = 'https://a.example/'", "no `name`"),
        ("[[link]]\nname = 'A'\nurl = 'javascript:alert(1)'", "https:// address"),
        ("[[link]]\nname = 'A'\nurl = 'https://a.example/{0.__class__}'", "nothing else"),
        ("[[link]]\nname = 'A'\nurl = 'https://a.example/{image_url!r:>9}'", "nothing else"),
        ("[[link]]\nname = 'A'\nurl = 'https://a.example/{'", "wrong `url`"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "links.toml").write_text(text)
    with pytest.raises(LinksError, match=said):
        links(tmp_path, image_url=ADDRESS, caption="x")


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "file:///etc/passwd", "https://", "//a.example", "https://[", "https://a b"],
)
def test_what_is_no_web_address_is_not_linked_to(address: str) -> None:
    assert not is_web_address(address)
    assert links(None, image_url=address, caption="x") == links(None, image_url=None, caption="x")


def test_caption_and_address_cannot_leave_their_place_in_the_link() -> None:
    made = {link.name: link for link in links(None, image_url=ADDRESS, caption="storm & flood?/../#")}
    assert made["Google Lens"].url.endswith(
        "?url=https%3A%2F%2Fnews.example%2Fa%2520b.jpg%3Fx%3D1%26y%3D2%23z"
    )
    assert "/search/storm%20%26%20flood%3F%2F..%2F%23;hl=en" in made["Fact Check Explorer, by caption"].url
    assert made["Google Lens"].sends == "the picture's address"
    assert made["Fact Check Explorer, by caption"].sends == "the caption"


def test_without_an_address_the_page_for_giving_the_file_is_linked_to(tmp_path: Path) -> None:
    made = {link.name: link for link in links(tmp_path, image_url=None, caption=None)}
    assert made["Bing"].url == "https://www.bing.com/visualsearch"
    assert made["Bing"].sends == "nothing, until you give it the file"
    assert "Fact Check Explorer, by caption" not in made


def test_a_file_of_the_desk_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "links.toml").write_text("[[link]]\nname = 'Own'\nurl = 'https://own.example/?u={image_url}'")
    assert [link.name for link in links(tmp_path, image_url=ADDRESS, caption=None)] == ["Own"]
