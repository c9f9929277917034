# ruff: noqa: N802 (Twisted names these methods)
"""A mail server that takes everything: says its port, then each mail as a line of JSON."""

import asyncio
import json
import sys

from twisted.internet import asyncioreactor

asyncioreactor.install(asyncio.new_event_loop())

from twisted.internet import defer, endpoints, reactor  # noqa: E402
from twisted.mail import smtp  # noqa: E402
from zope.interface import implementer  # noqa: E402


@implementer(smtp.IMessage)
class Message:
    """One mail to one address."""

    def __init__(self, to):
        self.to, self.lines = to, []

    def lineReceived(self, line):
        self.lines.append(line)

    def eomReceived(self):
        text = b"\n".join(self.lines).decode()
        sys.stdout.write(json.dumps({"to": self.to, "text": text}) + "\n")
        sys.stdout.flush()
        return defer.succeed(None)

    def connectionLost(self):
        self.lines = []


@implementer(smtp.IMessageDelivery)
class Delivery:
    """Takes mails for everybody but refused@…."""

    def receivedHeader(self, helo, origin, recipients):
        return b"Received: here"

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        if str(user.dest).startswith("refused@"):
            raise smtp.SMTPBadRcpt(user)
        return lambda: Message(str(user.dest))


class Factory(smtp.SMTPFactory):
    """Speaks ESMTP."""

    def buildProtocol(self, addr):
        protocol = smtp.ESMTP()
        protocol.delivery = Delivery()
        protocol.factory = self
        return protocol


def listening(port):
    sys.stdout.write(json.dumps({"port": port.getHost().port}) + "\n")
    sys.stdout.flush()


endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory()).addCallback(listening)
reactor.run()
