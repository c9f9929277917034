"""How this server speaks HTTP: the choices of an operator."""

from attrs import frozen


@frozen(kw_only=True)
class WebSettings:
    """Times are seconds."""

    access_log: bool = False  # a line for each answer, not only for those that failed
    trust_forwarded: bool = False  # a reverse proxy of ours stands in front and sets X-Forwarded-For
    max_body: int = 1024 * 1024  # bytes, for endpoints that name no limit of their own
    body_timeout: float = 60.0  # for a body of the size its endpoint allows
    write_timeout: float = 120.0  # for a client to take what we answered
    keepalive_timeout: float = 75.0  # an idle connection lives this long
    stop_timeout: float = 10.0  # for running handlers to finish when the server stops
