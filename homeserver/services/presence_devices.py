"""What the devices of one user say of the user's presence, in memory; nothing here is written anywhere."""

from attrs import define, field

from homeserver.core.presence import OFFLINE, ONLINE, seen, together

OFFLINE_AFTER = 30_000  # milliseconds without a sync
MAX_DEVICES = 50  # of one user that are looked at


@define(eq=False)
class Device:
    """A device that syncs, or did until just now."""

    said: str
    syncs: int = 0
    last: int = 0  # ms, when the last sync ended

    def is_there(self, now: int) -> bool:
        return self.syncs > 0 or now - self.last <= OFFLINE_AFTER


@define(eq=False)
class Tracked:
    """A user with devices that are there. `written` is the state others were told, and when."""

    active_ts: int
    written: str = OFFLINE
    written_ts: int = 0
    devices: dict[int, Device] = field(factory=dict)

    def device(self, device_nid: int, said: str | None, now: int) -> Device:
        """A device speaks up. None: it is online, unless it said something else before."""
        device = self.devices.get(device_nid)
        if device is None:
            if len(self.devices) >= MAX_DEVICES:
                self.devices.pop(next(iter(self.devices)))
            device = self.devices[device_nid] = Device(OFFLINE)
        if said is None and device.said == OFFLINE:
            said = ONLINE
        if said == ONLINE and device.said != ONLINE:
            self.active_ts = now  # coming online is an activity [cs "Last active ago"]
        device.said = said or device.said
        device.last = now
        return device

    def state(self, now: int) -> str:
        """The user's presence now."""
        there = [device.said for device in self.devices.values() if device.is_there(now)]
        return seen(together(there), self.active_ts, now)

    def forget_gone(self, now: int) -> None:
        """Devices that have not synced for long enough are no more."""
        gone = [nid for nid, device in self.devices.items() if not device.is_there(now)]
        for nid in gone:
            del self.devices[nid]
