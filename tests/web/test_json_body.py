"""Bodies are as deep as an answer can tell them, and no deeper."""

import orjson
import pytest

from homeserver.core.errors import MatrixError
from homeserver.web.json_body import MAX_DEPTH, parse_object


def nested(levels: int, inmost: str, opening: str, closing: str) -> bytes:
    """An object with so many levels, one of them the innermost, beside a shallow one that has many brackets."""
    deep = opening * (levels - 2) + inmost + closing * (levels - 2)
    return f'{{"many": {orjson.dumps([[]] * 300).decode()}, "deep": {deep}}}'.encode()


@pytest.mark.parametrize("inmost", ["{}", "[]", '{"a": 1}', '["text", 1.5, null]'])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x": ', "}")])
def test_the_deepest_body(inmost: str, opening: str, closing: str) -> None:
    parse_object(nested(MAX_DEPTH, inmost, opening, closing))
    for levels in (MAX_DEPTH + 1, MAX_DEPTH + 60, 900):
        with pytest.raises(MatrixError) as caught:
            parse_object(nested(levels, inmost, opening, closing))
        assert caught.value.errcode == "M_BAD_JSON"
