"""Runs one server as SyTest wants it: `python -m sytest_compat.sytest.launch sytest.json`.

The file is what `plugins/homing` knows of the harness. It becomes a configuration like any operator's, and the server
is started as operators start it; nothing in it knows that it is being tested.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeserver.app.main import main as homeserver
from sytest_compat.settings import Sections, for_tests, write_settings

SHARED_SECRET = "reg_secret"  # fixed in SyTest's tests
CAPTCHA_SECRET = "captcha_secret"  # a file
LOOPBACK = ["127.0.0.0/8", "::1/128"]  # where everything of SyTest's is


def configuration(told: Mapping[str, Any]) -> Sections:
    """Sections and options for what the harness told us."""
    special = {
        "server": {
            "name": told["server_name"],
            "listen": told["listen"],
            "public_baseurl": told["public_baseurl"],
            "data": told["folder"],
        },
        "database": {"url": told["database_url"]},
        # The harness' own servers know no version 12; one test wants a `creator`, which 11 dropped.
        "rooms": {"default_version": "10"},
        "federation": {
            "listen": told["federation_listen"],
            "tls_certificate": told["tls_certificate"],
            "tls_key": told["tls_key"],
            "certificate_authorities": told["federation_ca"],
            # Its identity servers have a certificate that nobody vouches for.
            "verify_certificates": False,
            "allowed_networks": LOOPBACK,
        },
        "identity_servers": {"trusted": ["127.0.0.1", "localhost"]},
        # One of its tests wants a mention found in the text, as servers did until v1.16.
        "push": {"allowed_networks": LOOPBACK, "mentions_in_text": True},
        "experimental": {"unread_counts": True},
        "application_services": {"files": told["app_service_files"]},
        "url_previews": {"enabled": True, "allowed_networks": LOOPBACK},
        **_mail(told["smtp"]),
        **_cas(told["cas"]),
        **_captcha(told["recaptcha"]),
    }
    return for_tests(special)


def _mail(smtp: Mapping[str, Any] | None) -> Sections:
    if smtp is None:
        return {}
    told = {"smtp_host": smtp["host"], "smtp_port": int(smtp["port"]), "encryption": "none"}
    return {"email": {**told, "confirm_by_link": True}}  # its mailbox presses no buttons


def _cas(cas: Mapping[str, Any] | None) -> Sections:
    if cas is None:
        return {}
    provider = {"id": "cas", "kind": "cas", "url": cas["server_url"], "validate": "proxyValidate"}
    return {"sso": {"providers": [{**provider, "existing_accounts": True}]}}


def _captcha(captcha: Mapping[str, Any] | None) -> Sections:
    if captcha is None:
        return {}
    told = {"public_key": captcha["public_key"], "verify_url": captcha["siteverify_api"]}
    # One test proves to be human; all the others register without that.
    return {"captcha": {**told, "private_key_file": CAPTCHA_SECRET, "required": False}}


def main(told: Mapping[str, Any]) -> None:
    """Take this process over for the server."""
    os.environ["SSL_CERT_FILE"] = told[
        "federation_ca"
    ]  # push gateways and application services show its certificates
    folder = Path(told["folder"])
    config = write_settings(folder, configuration(told), SHARED_SECRET)
    if told["recaptcha"] is not None:
        (folder / CAPTCHA_SECRET).write_text(told["recaptcha"]["private_key"])
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    homeserver(["run", "--config", str(config)])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
