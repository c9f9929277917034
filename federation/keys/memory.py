"""Other servers' keys in memory, parsed, so that checking a request or an event asks nobody. Bounded."""

from collections import OrderedDict

from attrs import define, field, frozen

from federation.protocol.key_responses import MAX_LIFETIME
from homeserver.core.receipt_checks import ServerKey
from storage.server_keys import KeyName

MAX_KEYS = 20_000  # some 600 bytes each


@frozen
class HeldKey:
    """A key, when we learned of it, and whether from its server itself or through a notary."""

    key: ServerKey
    fetched_ts: int
    direct: bool = True

    def suffices(self, until: int, now: int) -> bool:
        """Is nothing to be gained by asking for a key that is valid at `until`?

        A retired key stays what it is, and no key is believed further ahead than MAX_LIFETIME.
        """
        return self.key.retired or self.key.valid_until_ts >= until or until > now + MAX_LIFETIME

    def is_due(self, now: int) -> bool:
        """Valid still, but past half its life, and so to be asked for again [ss "Retrieving server keys"]."""
        valid_until = self.key.valid_until_ts
        return not self.key.retired and (self.fetched_ts + valid_until) // 2 < now < valid_until

    def yields_to(self, other: "HeldKey") -> bool:
        """Does `other` tell more? The newest word of the server itself, or what a notary knows beyond it."""
        if other.fetched_ts < self.fetched_ts:
            return False
        more = other.key.retired or other.key.valid_until_ts > self.key.valid_until_ts
        return other.direct or (not self.key.retired and more)


@define(eq=False)
class KeyMemory:
    """The keys used last."""

    max_keys: int = MAX_KEYS
    _keys: OrderedDict[KeyName, HeldKey] = field(factory=OrderedDict, init=False)

    def get(self, name: KeyName) -> HeldKey | None:
        held = self._keys.get(name)
        if held is not None:
            self._keys.move_to_end(name)
        return held

    def learn(self, name: KeyName, held: HeldKey) -> HeldKey:
        """Keep it, unless what is known tells more; gives what is known now."""
        known = self._keys.get(name)
        if known is not None and not known.yields_to(held):
            return known
        self._keys[name] = held
        self._keys.move_to_end(name)
        if len(self._keys) > self.max_keys:
            self._keys.popitem(last=False)
        return held
