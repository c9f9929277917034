"""Whose device asks, for services about its keys and messages."""

from attrs import frozen


@frozen
class DeviceOwner:
    """One of our users on one of their devices."""

    user_id: str
    user_nid: int
    device_id: str
    device_nid: int
