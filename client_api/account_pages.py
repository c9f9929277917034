"""Client-Server API, "Account management" by OAuth: people see and change their account with a browser."""

import time
from collections.abc import Mapping
from html import escape
from typing import Any

from attrs import frozen

from client_api.login_forms import LoginForms
from client_api.oauth_clients import ACCOUNT
from client_api.service_linking import LINK, UNLINK, ServiceLinking
from client_api.visits import Visit, Visits, go
from homeserver.core.errors import MatrixError, bad_json
from homeserver.services.account_changes import AccountChanges
from homeserver.services.addresses.accounts import AccountAddresses
from homeserver.services.devices import Devices
from homeserver.services.oauth.account_proofs import AccountProofs
from homeserver.services.oauth.web_sessions import LoggedIn
from homeserver.services.profiles import Profiles
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import button, fault, hidden, line, page, sent, text
from homeserver.web.reply import Reply, Result
from storage.accounts import Account

# The sections that an action needs [cs "Account management URL actions"].
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "org.matrix.profile": ("profile",),
    "org.matrix.devices_list": ("devices",),
    "org.matrix.device_view": ("devices",),
    "org.matrix.device_delete": ("devices",),
    "org.matrix.cross_signing_reset": ("reset",),
    "org.matrix.account_deactivate": ("deactivate",),
}
_ALL = ("profile", "devices", "password", "services", "reset", "deactivate")
_DONE = {
    "name": "Your name has been changed.",
    "device": "The device has been logged out.",
    "password": "Your password has been changed.",
    LINK: "The login service has been linked: you can log in with it from now on.",
    UNLINK: "The login service has been removed.",
    "reset": "You may go back to your application now: it has ten minutes to replace your keys.",
}


@frozen
class AccountChanging:
    """What the pages can do."""

    devices: Devices
    profiles: Profiles
    changes: AccountChanges
    addresses: AccountAddresses
    proofs: AccountProofs


@frozen
class AccountPages:
    """One page with a section for each thing; with an `action`, only with what that needs."""

    visits: Visits
    forms: LoginForms
    doing: AccountChanging
    linking: ServiceLinking

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", ACCOUNT, self.show, auth=Auth.NONE, rate="other"),
            Endpoint("POST", ACCOUNT, self.change, auth=Auth.NONE, rate="login", stream=True),
        ]

    async def show(self, call: Call) -> Result:
        visit = await self.visits.begin(call)
        if (arrival := await self.forms.arrival(call, visit)) is not None:
            return self.visits.remember(go(arrival[0]), arrival[1])
        done = _DONE.get(call.query.string("done", ""), "")
        return self.visits.remember(await self._page(call, visit, done=done), visit.secret)

    async def change(self, call: Call) -> Result:
        visit, values = await self.visits.begin(call), await sent(call)
        step = values.get("step", "")
        try:
            visit.require_ours(values)
            if step in ("login", "register", "leave"):
                return self.visits.remember(go(call.raw_target), await self.forms.step(call, visit, values))
            if visit.who is not None and step == "deactivate":
                return await self._deactivate(visit.who, values)
            if visit.who is not None and step in (LINK, UNLINK):
                await self._prove(visit.who, values)
                return await self.linking.step(visit, visit.who.account, values)
            if visit.who is not None:
                await self._change(visit.who, step, values)
            if visit.who is not None and step == "password":  # it has logged all browsers out
                visit = Visit(await self.forms.sessions.open(visit.who.account), visit.who)
        except MatrixError as refusal:
            return self.visits.remember(await self._page(call, visit, problem=refusal.message), visit.secret)
        return self.visits.remember(await self._page(call, visit, done=_DONE.get(step, "")), visit.secret)

    async def _change(self, who: LoggedIn, step: str, values: dict[str, str]) -> None:
        doing, account = self.doing, who.account
        if step == "name":
            await doing.profiles.set_field(
                account.user_id, "displayname", {"displayname": values.get("displayname", "")}
            )
        elif step == "device":
            await doing.devices.delete(account.user_nid, [values.get("device_id", "")])
        elif step == "reset":
            await self._prove(who, values)
            await doing.proofs.allow_reset(account.user_nid)
        elif step == "password":
            if values.get("new") != values.get("again"):
                raise bad_json("The two new passwords differ")
            await self._prove(who, values)
            await doing.changes.set_password(account.user_nid, values.get("new", ""))

    async def _prove(self, who: LoggedIn, values: dict[str, str]) -> None:
        await self.doing.proofs.require(who.account, values.get("password", ""), fresh=who.fresh)

    async def _deactivate(self, who: LoggedIn, values: dict[str, str]) -> Reply:
        account = who.account
        await self._prove(who, values)
        await self.doing.addresses.forget(account.user_nid, account.user_id)
        await self.doing.changes.deactivate(account, erase=values.get("erase") == "yes")
        return self.visits.remember(page("Good-bye", text("Your account has been deactivated.")), "")

    async def _page(self, call: Call, visit: Visit, *, problem: str = "", done: str = "") -> Reply:
        if visit.account is None:
            return self.forms.page(call, visit, "Log in to manage your account.", problem)
        proof = _proof(visit.account.password_hash is not None)
        if asked := await self.linking.question(call, visit, visit.account, proof):
            return page("Your account", fault(problem) + asked, status=400 if problem else 200)
        wanted = _SECTIONS.get(call.query.string("action", ""), _ALL)
        if visit.account.password_hash is None:
            wanted = tuple(section for section in wanted if section != "password")
        told = text(f"You are {visit.account.user_id}.") + fault(problem) + (text(done) if done else "")
        for section in wanted:
            told += await self._section(section, call, visit, visit.account)
        leave = visit.form(button("Log out of this page", "leave", look="plain"))
        return page("Your account", told + leave, status=400 if problem else 200)

    async def _section(self, section: str, call: Call, visit: Visit, account: Account) -> str:
        if section == "profile":
            known = await self.doing.profiles.get(account.user_id)
            name = str(known.get("displayname") or "")
            inside = line("Name that others see", "displayname", value=name) + button("Change", "name")
            return f"<h2>Profile</h2>{visit.form(inside)}"
        if section == "devices":
            only = call.query.string("device_id", "")
            found = await self.doing.devices.all(account.user_nid)
            rows = [_device(visit, each) for each in found if only in ("", each["device_id"])]
            return f"<h2>Devices</h2>{''.join(rows) or text('There is none.')}"
        if section == "services":
            return await self.linking.section(account)
        return _WITH_PASSWORD[section](visit, account.password_hash is not None)


def _device(visit: Visit, device: dict[str, Any]) -> str:
    seen = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(device["last_seen_ts"] / 1000))
    device_id, name = escape(device["device_id"]), escape(device["display_name"] or device["device_id"])
    where = escape(device["last_seen_ip"])
    told = f"<p><b>{name}</b><br><small>{device_id}, last seen {seen} {where}</small></p>"
    return told + visit.form(
        hidden("device_id", device["device_id"]) + button("Log out", "device", look="stop")
    )


def _password(label: str = "Your password") -> str:
    return line(label, "password", kind="password", complete="current-password")


def _proof(has_password: bool) -> str:
    """Who logs in elsewhere has no password here; then the login must be fresh."""
    return _password() if has_password else ""


def _change_password(visit: Visit, _: bool) -> str:
    new = line("New password", "new", kind="password", complete="new-password")
    again = line("New password, once more", "again", kind="password", complete="new-password")
    inside = _password("Your password so far") + new + again + button("Change", "password")
    return f"<h2>Password</h2>{visit.form(inside)}"


def _reset(visit: Visit, has_password: bool) -> str:
    told = text(
        "If an application has lost your secret keys, it can make new ones. Those you talk to will be told that your "
        "identity has changed. Allow this only if you have asked for it in your application just now."
    )
    inside = _proof(has_password) + button("Allow a new identity", "reset", look="stop")
    return f"<h2>Identity</h2>{told}{visit.form(inside)}"


def _deactivate(visit: Visit, has_password: bool) -> str:
    told = text("Nobody will be able to use this account or its name again. This cannot be taken back.")
    erase = '<label><input type="checkbox" name="erase" value="yes"> Hide what I said from those who come later</label>'
    inside = _proof(has_password) + erase + button("Deactivate my account", "deactivate", look="stop")
    return f"<h2>End</h2>{told}{visit.form(inside)}"


_WITH_PASSWORD = {"password": _change_password, "reset": _reset, "deactivate": _deactivate}
