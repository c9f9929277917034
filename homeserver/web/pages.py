"""Small pages for people in a browser, without scripts, and what they send back."""

from html import escape
from typing import Any
from urllib.parse import parse_qs

import orjson

from homeserver.core.errors import bad_json, too_large
from homeserver.web.call import Call
from homeserver.web.reply import Reply

MAX_FORM = 65_536
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#222}}
button{{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.4rem;background:#0b6;color:#fff;cursor:pointer}}
@media(prefers-color-scheme:dark){{body{{background:#191919;color:#eee}}}}</style></head>
<body><main><h1>{title}</h1>{body}</main>{script}</body></html>
"""


def page(title: str, body: str, *, status: int = 200, script: str = "", policy: str = "") -> Reply:
    """A page; `body` and `script` are HTML already. Nothing but what `policy` names is loaded into it."""
    html = _PAGE.format(title=escape(title), body=body, script=script)
    rules = (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'{policy}"
    )
    headers = {"Content-Security-Policy": rules, "X-Frame-Options": "DENY", "Cache-Control": "no-store"}
    return Reply(status, html.encode(), headers, "text/html; charset=utf-8")


def form(values: dict[str, str], inside: str) -> str:
    """A form that sends `values` back to where its page came from; `inside` is HTML already."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in values.items()
    )
    return f'<form method="post">{hidden}{inside}</form>'


def text(words: str) -> str:
    """A paragraph."""
    return f"<p>{escape(words)}</p>"


def is_form(call: Call) -> bool:
    """Did a page send this? If not, it was a program, which expects JSON."""
    return call.header("Content-Type").partition(";")[0].strip() == "application/x-www-form-urlencoded"


async def sent(call: Call) -> dict[str, str]:
    """What a form, or a client with JSON, sent; the endpoint reads in pieces. Raises M_BAD_JSON."""
    body = bytearray()
    async for chunk in call.chunks():
        body += chunk
        if len(body) > MAX_FORM:
            raise too_large("The form is too large")
    values: Any
    try:
        if is_form(call):
            found = parse_qs(bytes(body).decode(), max_num_fields=50)
            values = {name: given[0] for name, given in found.items()}
        else:
            values = orjson.loads(bytes(body) or b"{}")
    except ValueError as cause:
        raise bad_json("This is no form") from cause
    if not isinstance(values, dict):
        raise bad_json("This is no form")
    return {name: value for name, value in values.items() if isinstance(value, str) and "\0" not in value}
