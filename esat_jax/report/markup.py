"""HTML and SVG as text, in which only what was made by `element` is markup."""

import base64
import html

_VOID = frozenset({"img", "input", "meta", "link", "br"})
_SVG_ALONE = frozenset({"rect", "line", "path", "polyline", "image", "use", "circle"})


class Html(str):
    """Text that is markup already; any other text is escaped where it becomes a child."""

    __slots__ = ()


def element(tag: str, /, *children: object, **attributes: object) -> Html:
    """An element, such as `element("p", "a < b", class_="note")`.

    Args:
      children: `Html` as it is, lists of children one after the other, None as nothing, and
        anything else as escaped text.
      attributes: a name's last underscore is dropped, others become hyphens. None and False leave
        it out, True gives it without a value; numbers are written short.
    """
    start = "".join(_attribute(key, value) for key, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{start}>")
    content = join(children)
    if tag in _SVG_ALONE and not content:
        return Html(f"<{tag}{start}/>")
    return Html(f"<{tag}{start}>{content}</{tag}>")


def join(children: object) -> Html:
    """Children, as in `element`, without an element around them."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int | float):
        return Html(html.escape(str(children), quote=False))
    return Html("".join(map(join, children)))


def data_uri(media_type: str, content: bytes) -> str:
    """A file's content as an address, such as that of an image."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def number_text(value: float) -> str:
    """A coordinate with at most two decimals: 3, 0.5, 12.25."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = number_text(value) if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'
