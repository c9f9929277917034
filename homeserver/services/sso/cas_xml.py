"""Reads what a CAS server says of a ticket [CAS 3.0 "serviceValidate"]: small XML, without anything that XML can do."""

from typing import Any
from xml.parsers import expat

from attrs import define, field

_NAMESPACE = "http://www.yale.edu/tp/cas"
_MAX_PARTS = 1_000


class NotCas(ValueError):
    """No answer of a CAS server."""


@define(eq=False)
class _Reading:
    """The texts by their paths, while the parser goes through them."""

    path: list[str] = field(factory=list)
    texts: list[tuple[tuple[str, ...], list[str]]] = field(factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        self.path.append(local if space in ("", _NAMESPACE) else name)
        self.texts.append((tuple(self.path), []))
        if len(self.texts) > _MAX_PARTS:
            raise NotCas("too many parts")

    def end(self, name: str) -> None:
        self.path.pop()

    def said(self, text: str) -> None:
        if self.texts and self.texts[-1][0] == tuple(self.path):
            self.texts[-1][1].append(text)


def _refuse(*_: object) -> None:
    raise NotCas("a document type, or entities of its own")


def read_person(content: bytes) -> tuple[str, dict[str, Any]]:
    """The user and the attributes, each a list of texts. Raises NotCas, also where the ticket was no good."""
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.CharacterDataHandler = reading.said
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError) as cause:
        raise NotCas(f"not XML: {cause}") from cause
    success = ("serviceResponse", "authenticationSuccess")
    users = [text for path, text in reading.texts if path == (*success, "user")]
    user = "".join(users[0]).strip() if len(users) == 1 else ""
    if not user or "\0" in user:
        failures = [
            "".join(text).strip() for path, text in reading.texts if path[1:] == ("authenticationFailure",)
        ]
        raise NotCas(failures[0][:200] if failures else "no user")
    attributes: dict[str, Any] = {}
    for path, text in reading.texts:
        if path[:-1] == (*success, "attributes"):
            attributes.setdefault(path[-1], []).append("".join(text).strip())
    return user, attributes
