from html.parser import HTMLParser

from esat_jax.report.markup import Html, data_uri, element, join, number_text

NASTY = """</td><script>alert("1")</script>&amp;'"""


def test_text_and_attributes_arrive_as_they_were():
    seen = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            seen.append((tag, dict(attributes)))

        def handle_data(self, data):
            seen.append(data)

    Reader().feed(element("td", NASTY, title=NASTY))
    assert seen == [("td", {"title": NASTY}), NASTY]


def test_elements_nest_and_attributes_are_written_short():
    inner = element("rect", element("title", "a<b"), x=1.0, width=2.345, class_="hit", hidden=True)
    assert element("g", [inner, None], 3, data_value=None, id=False) == (
        '<g><rect x="1" width="2.35" class="hit" hidden><title>a&lt;b</title></rect>3</g>'
    )
    assert element("line", x1=0) == '<line x1="0"/>'
    assert element("br") == "<br>"
    assert isinstance(join(["a", inner]), Html)


def test_numbers_and_addresses():
    assert [number_text(value) for value in (3.0, 0.5, 12.256, -0.001, 100)] == [
        *("3", "0.5", "12.26", "0", "100")
    ]
    assert data_uri("image/png", b"abc") == "data:image/png;base64,YWJj"
