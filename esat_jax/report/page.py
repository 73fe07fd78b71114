"""The page around a report's sections: one file, no address outside it."""

import dataclasses
from collections.abc import Sequence
from importlib import resources

from esat_jax.report.markup import Html, element, join

MOST_TRACKERS = 12  # that report.css tells apart, by six colours and their dashes


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page. Attributes: key: its place; title; children: markup."""

    key: str
    title: str
    children: Sequence[object]


def page(
    title: str,
    intro: str,
    trackers: Sequence[str],
    sections: Sequence[Section],
    *,
    truth: bool = True,
) -> str:
    """The whole file. Args: truth: whether it shows true boxes, which the legend names then."""
    links = [element("a", section.title, href=f"#{section.key}") for section in sections]
    body = [
        element("header", element("h1", title), element("p", intro, class_="intro")),
        element(
            "nav",
            element("div", *links, class_="links"),
            _legend(trackers, truth),
            aria_label="sections",
        ),
        element("main", *map(_section, sections)),
        element("script", Html(_file("report.js"))),
    ]
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(_file("report.css"))),
    ]
    parts = element("head", *head), element("body", *body)
    return f"<!doctype html>\n{element('html', *parts, lang='en')}\n"


def _section(section: Section) -> Html:
    heading = element("h2", section.title)
    return element("section", heading, join(section.children), id=section.key)


def _legend(trackers: Sequence[str], truth: bool) -> Html:
    """What colours mean; a tick takes a tracker out of all plots and pictures."""
    items = [_legend_item("truth", "truth")] if truth else []
    items += [_legend_item(name, f"t{place}") for place, name in enumerate(trackers)]
    return element("div", *items, class_="legend")


def _legend_item(name: str, key: str) -> Html:
    swatch = element(
        "svg",
        element("line", x1=1, x2=27, y1=7, y2=7, class_=f"line {key}"),
        viewBox="0 0 28 14",
        aria_hidden="true",
    )
    box = element("input", type="checkbox", checked=True, data_hides=key)
    return element("label", box, swatch, name)


def _file(name: str) -> str:
    return resources.files("esat_jax.report").joinpath(name).read_text()
