"""Where people find our own pages, as far as the operator has said where we are."""

from client_api.oauth_clients import ACCOUNT
from homeserver.app.config import Config
from homeserver.services.oauth.account_proofs import OAUTH, OLD_OAUTH, ConfirmedElsewhere


def client_base_url(config: Config) -> str:
    """Where clients reach us; empty if nobody has said."""
    return config.well_known.client_base_url or config.server.public_baseurl


def oauth_base_url(config: Config) -> str:
    """Where our own pages are; empty if OAuth is off, or nobody has said where a server for others is."""
    if not config.oauth.enabled:
        return ""
    return client_base_url(config).rstrip("/") or _on_this_machine(config)


def _on_this_machine(config: Config) -> str:
    """A server that was started to try it out is where it listens."""
    name, listen = config.server.name, config.server.listen
    tried_out = name.partition(":")[0] == "localhost" and not listen.endswith(":0")
    return f"http://{listen}" if tried_out else ""


def confirmed_elsewhere(config: Config) -> list[ConfirmedElsewhere]:
    """The stages by which people confirm on our pages what their client asks for."""
    url = f"{oauth_base_url(config)}{ACCOUNT}?action=org.matrix.cross_signing_reset"
    return [ConfirmedElsewhere(url, kind) for kind in (OAUTH, OLD_OAUTH)]
