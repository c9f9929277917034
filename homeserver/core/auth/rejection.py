"""How an authorization rule says no: by raising `Rejected`; "allow" is returning."""

from attrs import define


@define(eq=False)
class Rejected(Exception):
    """An event that the rules do not allow. `rule` cites the one that refused it, `reason` says it in words.

    Rules are numbered as in the newest room version that has them: "rooms/v12 auth 10.4".
    """

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} [{self.rule}]"


def reject_if(broken: bool, rule: str, reason: str) -> None:
    """One rule on one line: refuse by `rule` where it is broken."""
    if broken:
        raise Rejected(rule, reason)
