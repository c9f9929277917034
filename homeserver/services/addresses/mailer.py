"""Hands mails to the operator's mail server."""

from collections.abc import Mapping
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from ssl import CERT_NONE, SSLContext, create_default_context

import aiosmtplib
import structlog
from attrs import field, frozen

from homeserver.core.errors import MatrixError

log = structlog.get_logger(__name__)

SECONDS = 20.0
# A header that is longer than a line is encoded, and a link in it is none then.
_POLICY = policy.SMTP.clone(max_line_length=998, cte_type="7bit")
_NONE: Mapping[str, str] = {}


@frozen
class MailServer:
    """How it is reached. `encryption`: starttls, tls, none."""

    host: str
    port: int
    encryption: str = "starttls"
    verify: bool = True
    login: tuple[str, str] | None = field(default=None, repr=False)


@frozen
class Mailer:
    """Sends texts."""

    server: MailServer
    sender: str

    async def send(
        self, to: str, subject: str, text: str, *, html: str = "", headers: Mapping[str, str] = _NONE
    ) -> None:
        """Hand a mail over; what is behind the mail server is not ours to know. Raises M_UNKNOWN."""
        beyond_ascii = not to.isascii()
        message = EmailMessage(policy=_POLICY.clone(utf8=beyond_ascii))
        for header, value in headers.items():
            message[header] = value
        message["From"], message["To"], message["Subject"] = self.sender, to, subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=parseaddr(self.sender)[1].rpartition("@")[2] or None)
        message["Auto-Submitted"] = "auto-generated"  # no absence notices [RFC 3834]
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        name, password = self.server.login or (None, None)
        try:
            await aiosmtplib.send(
                message.as_bytes(),
                sender=parseaddr(self.sender)[1],
                recipients=[to],
                mail_options=["SMTPUTF8"] if beyond_ascii else [],  # [RFC 6531]
                hostname=self.server.host,
                port=self.server.port,
                username=name,
                password=password,
                use_tls=self.server.encryption == "tls",
                start_tls=self.server.encryption == "starttls",
                tls_context=self._tls(),
                timeout=SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as cause:
            log.warning("a mail was not taken", host=self.server.host, why=repr(cause))
            raise MatrixError(
                503, "M_UNKNOWN", "The mail could not be sent just now; try again later"
            ) from cause

    def _tls(self) -> SSLContext | None:
        if self.server.encryption == "none":
            return None
        context = create_default_context()
        if not self.server.verify:
            context.check_hostname = False
            context.verify_mode = CERT_NONE
        return context
