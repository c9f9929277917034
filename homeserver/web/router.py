"""From a raw request target to the endpoint that answers it.

A trie over path segments: the cost is the depth of the path, however many endpoints there are. The raw path is
split first and decoded segment by segment, so that an encoded slash stays inside its parameter.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from attrs import Factory, define, frozen

from homeserver.core.errors import MatrixError, invalid_param, unrecognized
from homeserver.web.endpoint import Endpoint


@frozen
class Route:
    """An endpoint at one of its paths, with the names of the parameters there."""

    endpoint: Endpoint
    names: tuple[str, ...]


@define
class _Node:
    literals: dict[str, "_Node"] = Factory(dict)
    parameter: "_Node | None" = None
    routes: dict[str, Route] = Factory(dict)  # by method


class Router:
    """All endpoints of a server. Two endpoints at one method and path are refused at construction."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._root = _Node()
        self._methods: set[str] = set()
        for endpoint in endpoints:
            for path in endpoint.full_paths():
                self._add(endpoint, path)

    def _add(self, endpoint: Endpoint, path: str) -> None:
        node, names = self._root, []
        for segment in _segments(path):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        taken = node.routes.setdefault(endpoint.method, route := Route(endpoint, tuple(names)))
        if taken is not route:
            raise ValueError(f"two endpoints for {endpoint.method} {path}")
        self._methods.add(endpoint.method)

    def find(self, method: str, target: str) -> tuple[Endpoint, dict[str, str]]:
        """The endpoint and its decoded parameters, or M_UNRECOGNIZED: 404 for the path, 405 for the method."""
        segments = split_target(target)
        values: list[str] = []
        route = _descend(self._root, segments, 0, method, values)
        if route is None and method == "HEAD":
            route = _descend(self._root, segments, 0, "GET", values)
        if route is None:
            raise self._unrecognized(segments)
        return route.endpoint, dict(zip(route.names, values, strict=True))

    def _unrecognized(self, segments: list[str]) -> MatrixError:
        if any(self._methods_at(segments)):
            return unrecognized("This endpoint does not support that method", status=405)
        return unrecognized()

    def allowed(self, target: str) -> list[str]:
        """The methods that exist at a path, for the Allow header of a 405 [RFC 9110 15.5.6]."""
        return sorted(self._methods_at(split_target(target)))

    def _methods_at(self, segments: list[str]) -> Iterator[str]:
        return (method for method in self._methods if _descend(self._root, segments, 0, method, []))


def _descend(node: _Node, segments: list[str], at: int, method: str, values: list[str]) -> Route | None:
    """Fixed segments first, then parameters; `values` holds the parameters of the way that was found."""
    if at == len(segments):
        return node.routes.get(method)
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        route = _descend(child, segments, at + 1, method, values)
        if route is not None:
            return route
    if node.parameter is not None and segment:
        values.append(segment)
        route = _descend(node.parameter, segments, at + 1, method, values)
        if route is not None:
            return route
        values.pop()
    return None


def split_target(target: str) -> list[str]:
    """The decoded segments of a request target's path."""
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = _path_of_absolute(path)
    segments = _segments(path)
    if "%" not in path and path.isascii():
        return segments
    try:
        path.encode()  # bytes that were no UTF-8 arrive as lone surrogates
        segments = [unquote(segment, errors="strict") for segment in segments]
    except UnicodeError as error:
        raise invalid_param("The path is not valid UTF-8") from error
    if "%00" in path:  # PostgreSQL's text cannot hold it, and no identifier may
        raise invalid_param("The path must not contain the character U+0000")
    return segments


def _segments(path: str) -> list[str]:
    """Split at slashes; one slash at the end does not count."""
    segments = path.split("/")
    if segments[-1] == "":
        segments.pop()
    return segments[1:]


def _path_of_absolute(target: str) -> str:
    """The path of "http://host/path", which any server must understand [RFC 9112 3.2.2]."""
    _, _, rest = target.partition("://")
    return "/" + rest.partition("/")[2]
