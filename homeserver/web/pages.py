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
button.plain{{background:none;color:inherit;text-decoration:underline;padding:.6rem}}button.stop{{background:#b22}}
label{{display:block;margin:.8rem 0}}
input:not([type=checkbox]){{font:inherit;display:block;width:100%;box-sizing:border-box;padding:.5rem}}
h2{{margin-top:2.5rem;font-size:1.2rem}}.fault{{color:#c22}}small{{opacity:.75}}
@media(prefers-color-scheme:dark){{body{{background:#191919;color:#eee}}}}</style></head>
<body><main><h1>{title}</h1>{body}</main>{script}</body></html>
"""


def page(
    title: str, body: str, *, status: int = 200, script: str = "", policy: str = "", leads_to: str = ""
) -> Reply:
    """A page; `body` and `script` are HTML already. Nothing but what `policy` names is loaded into it.

    `leads_to` is where its forms may end, besides here: browsers also ask this of redirects.
    """
    html = _PAGE.format(title=escape(title), body=body, script=script)
    rules = (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {leads_to}; "
        f"frame-ancestors 'none'{policy}"
    )
    headers = {"Content-Security-Policy": rules, "X-Frame-Options": "DENY", "Cache-Control": "no-store"}
    return Reply(status, html.encode(), headers, "text/html; charset=utf-8")


def form(values: dict[str, str], inside: str) -> str:
    """A form that sends `values` back to where its page came from; `inside` is HTML already."""
    kept = "".join(hidden(name, value) for name, value in values.items())
    return f'<form method="post">{kept}{inside}</form>'


def hidden(name: str, value: str) -> str:
    """What a form sends that people do not see."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def text(words: str) -> str:
    """A paragraph."""
    return f"<p>{escape(words)}</p>"


def line(label: str, name: str, *, kind: str = "text", value: str = "", complete: str = "off") -> str:
    """A line to fill in; `complete` is what browsers may fill in by themselves."""
    return (
        f'<label>{escape(label)}<input name="{escape(name)}" type="{kind}" value="{escape(value)}" '
        f'autocomplete="{complete}" autocapitalize="none" spellcheck="false" required></label>'
    )


def button(label: str, step: str, *, look: str = "") -> str:
    """A button that sends its form with `step`."""
    return f'<button name="step" value="{escape(step)}" class="{look}">{escape(label)}</button>'


def fault(words: str) -> str:
    """What went wrong, above the form to try again with; nothing for no words."""
    return f'<p class="fault" role="alert">{escape(words)}</p>' if words else ""


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
