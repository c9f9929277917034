"""[cs "User-Interactive Authentication API"]: a request is done only after its user has passed some stages.

Theory of operation. A caller says what somebody wants to do (`Ask`: a purpose, the request's body, the flows that open
the way). `InteractiveAuth.pass_through` either gives the facts that the stages found out, with the request as it was
first made, or raises `Incomplete`, the 401 that tells the client how to go on. A stage is a small object: e-mail, terms
or single sign-on are further ones. What is completed outside of a request (a link in a mail, a page) calls
`complete_stage`.

A session is bound to its purpose and body. Only a client that had not said anything yet, or completed nothing yet, may
say something else; one that sends nothing but `auth` means the request of the session. Sessions live in the database,
under a hash of their id, sealed with the id.
"""

import hashlib
import secrets
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
from attrs import define, evolve, field, frozen
from nacl.secret import SecretBox

from homeserver.core.errors import MatrixError, bad_json, forbidden
from homeserver.services.now import Clock, now_ms
from storage import interactive_auth as rows
from storage.database import Database

LIFETIME_MS = 60 * 60 * 1000
MAX_REQUEST = 65_536  # bytes of a request that may wait for its stages

_OUTCOME = "outcome"  # the fact of a session that has been used up, but is remembered

Flows = Sequence[tuple[str, ...]]
JSONObject = Mapping[str, Any]


Proofs = Callable[[str, Flows], Awaitable[Flows]]


async def as_asked(user_id: str, flows: Flows) -> Flows:
    """The flows that a request names are those of everybody."""
    return flows


@frozen(kw_only=True)
class Ask:
    """What somebody wants to do. `purpose` names the endpoint and its object; `user_id` is who asks, if known.

    `remembered`: what comes of it can be noted with `note`, for a client that repeats the request.
    """

    purpose: str
    body: JSONObject
    flows: Flows
    user_id: str | None = None
    client_ip: str = ""
    remembered: bool = False


class Stage(Protocol):
    """One kind of proof."""

    @property
    def type(self) -> str:
        """Its name in flows."""

    def params(self) -> JSONObject:
        """What a client needs to know to begin it; nothing, mostly."""

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """Check the client's proof: facts to remember, or MatrixError."""


@frozen
class Passed:
    """The way is open: what the stages found out, and the request without its `auth`."""

    facts: JSONObject
    request: JSONObject
    session: "AuthSession | None" = None


@frozen
class AuthSession:
    """One authentication under way. `row` is its state in the database, once it is there."""

    session_id: str
    request: JSONObject
    completed: tuple[str, ...] = ()
    facts: JSONObject = field(factory=dict)
    row: rows.AuthRow | None = None


@define(eq=False)
class Incomplete(MatrixError):
    """Not yet: 401 with the flows; an error code only when a stage was tried in vain."""


@define(eq=False)
class AnotherUser(MatrixError):
    """The proof is good, or may be, but of somebody else: trying again with it is of no use."""


@frozen
class InteractiveAuth:
    """Leads requests through their stages."""

    database: Database
    stages: Mapping[str, Stage]
    clock: Clock = now_ms
    proofs: Proofs = as_asked  # how a user proves again who they are
    unasked: frozenset[str] = frozenset()  # stages that may be completed though no flow has them

    async def pass_through(self, ask: Ask) -> Passed:
        """Let the request pass, or raise what the client has to do next."""
        if ask.user_id is not None:
            ask = evolve(ask, flows=await self.proofs(ask.user_id, ask.flows))
        body = {name: value for name, value in ask.body.items() if name != "auth"}
        auth = ask.body.get("auth")
        if auth is not None and not isinstance(auth, dict):
            raise bad_json("auth must be an object")
        if not auth:
            raise await self._incomplete(ask, AuthSession(_new_id(), body))
        session = await self._session(ask, auth.get("session"), body)
        if "type" in auth:
            session = await self._try_stage(ask, session, auth)
        done = _asked(session.completed, ask.flows)
        if not any(done == tuple(flow) for flow in ask.flows):
            raise await self._incomplete(ask, session)
        proven = session.facts.get("user_id")
        if ask.user_id is not None and proven not in (None, ask.user_id):  # a page cannot know who asks
            raise AnotherUser(403, "M_FORBIDDEN", "Somebody else has authenticated, not the user who asks")
        used = await self._use_up(session, remembered=ask.remembered)
        return Passed(session.facts, session.request, used)

    async def note(self, passed: Passed, outcome: JSONObject) -> None:
        """What has come of a request whose `Ask` was `remembered`."""
        if passed.session is not None and passed.session.row is not None:
            await self._store(passed.session.row, evolve(passed.session, facts={_OUTCOME: dict(outcome)}))

    async def noted(self, purpose: str, body: JSONObject) -> JSONObject | None:
        """What came of this very request before, if the client repeats it with its session."""
        auth = body.get("auth")
        session_id = auth.get("session") if isinstance(auth, dict) else None
        session = await self._load(session_id) if isinstance(session_id, str) else None
        if session is None or session.row is None or session.row.purpose != purpose:
            return None
        request = {name: value for name, value in body.items() if name != "auth"}
        found: JSONObject | None = session.facts.get(_OUTCOME) or None
        return found if not request or request == session.request else None

    async def complete_stage(self, session_id: str, stage: str, facts: JSONObject) -> bool:
        """A stage has been completed elsewhere; False if the session is over."""
        session = await self._load(session_id)
        if session is None or session.row is None:
            return False
        done = evolve(session, completed=_with(session.completed, stage), facts={**session.facts, **facts})
        return await self._store(session.row, done)

    async def _session(self, ask: Ask, session_id: object, body: JSONObject) -> AuthSession:
        """The session the client means, or a new one for its first word."""
        if session_id is None:
            return AuthSession(_new_id(), body)
        session = await self._load(session_id, purpose=ask.purpose) if isinstance(session_id, str) else None
        if session is None:
            unknown = forbidden("This authentication session is unknown or has expired: please start again")
            raise await self._incomplete(ask, AuthSession(_new_id(), body), unknown)
        if _OUTCOME in session.facts:
            raise _used()
        if not body or body == session.request:
            return session
        if session.completed and session.request:
            raise forbidden("The request is not the one that this authentication session was started for")
        return evolve(session, request=body)

    async def _try_stage(self, ask: Ask, session: AuthSession, auth: JSONObject) -> AuthSession:
        kind = auth["type"]
        if not isinstance(kind, str):
            raise bad_json("auth.type must be a string")
        if kind in session.completed:
            return session
        stage = self.stages.get(kind)
        done = _with(session.completed, kind)
        if stage is None or not (self._is_extra(kind, ask.flows) or _leads_on(done, ask.flows)):
            fault = MatrixError(401, "M_FORBIDDEN", "This is not the next stage of any flow")
            raise await self._incomplete(ask, session, fault)
        try:
            facts = await stage.complete(auth, ask)
        except MatrixError as fault:
            if fault.status == 429 or isinstance(fault, AnotherUser):
                raise
            raise await self._incomplete(ask, session, fault) from fault
        return evolve(session, completed=done, facts={**session.facts, **facts})

    def _is_extra(self, kind: str, flows: Flows) -> bool:
        return kind in self.unasked and not any(kind in flow for flow in flows)

    async def _incomplete(
        self, ask: Ask, session: AuthSession, fault: MatrixError | None = None
    ) -> Incomplete:
        """Remember where the session stands, and say so."""
        if session.row is None:
            await self._insert(ask, session)
        elif not await self._store(session.row, session):
            fault = forbidden("This authentication session was used by another request meanwhile")
        wanted = {stage for flow in ask.flows for stage in flow}
        params = {kind: given for kind in sorted(wanted) if (given := self._params(kind))}
        extra = {
            "flows": [{"stages": list(flow)} for flow in ask.flows],
            "params": params,
            "session": session.session_id,
            "completed": list(session.completed),
        }
        return Incomplete(401, fault.errcode if fault else "", fault.message if fault else "", extra)

    def _params(self, kind: str) -> JSONObject:
        stage = self.stages.get(kind)
        return stage.params() if stage is not None else {}

    async def _insert(self, ask: Ask, session: AuthSession) -> None:
        row = _sealed(session, ask.purpose)
        now = self.clock()
        async with self.database.transaction() as conn:
            await rows.delete_sessions_before(conn, now - LIFETIME_MS)
            await rows.insert_session(conn, row, now)

    async def _store(self, old: rows.AuthRow, session: AuthSession) -> bool:
        async with self.database.transaction() as conn:
            return await rows.replace_session(conn, old, _sealed(session, old.purpose))

    async def _use_up(self, session: AuthSession, *, remembered: bool) -> AuthSession | None:
        """A session opens the way once; it is kept only to be told what came of it."""
        if session.row is None:
            return None
        if remembered:
            used = evolve(session, facts={_OUTCOME: {}})
            used = evolve(used, row=_sealed(used, session.row.purpose))
            async with self.database.writer() as conn:
                if used.row is None or not await rows.replace_session(conn, session.row, used.row):
                    raise _used()
            return used
        async with self.database.writer() as conn:
            if not await rows.delete_session(conn, session.row):
                raise _used()
        return None

    async def _load(self, session_id: str, *, purpose: str | None = None) -> AuthSession | None:
        not_before = self.clock() - LIFETIME_MS
        async with self.database.read() as conn:
            row = await rows.find_session(conn, _key(session_id), not_before=not_before)
        if row is None:
            return None
        if purpose not in (None, row.purpose):
            raise forbidden("This authentication session was started for something else")
        return _opened(session_id, row)


def _used() -> MatrixError:
    return forbidden("This authentication session has been used already")


def _with(completed: tuple[str, ...], stage: str) -> tuple[str, ...]:
    return completed if stage in completed else (*completed, stage)


def _asked(completed: tuple[str, ...], flows: Flows) -> tuple[str, ...]:
    """The stages that flows ask for."""
    return tuple(stage for stage in completed if any(stage in flow for flow in flows))


def _leads_on(completed: tuple[str, ...], flows: Flows) -> bool:
    """The stages of a flow are completed in its order [cs "User-Interactive Authentication API"]."""
    done = _asked(completed, flows)
    return done[-1:] == completed[-1:] and any(tuple(flow[: len(done)]) == done for flow in flows)


def _new_id() -> str:
    return secrets.token_urlsafe(24)


def _key(session_id: str) -> str:
    return hashlib.sha256(b"row " + session_id.encode("utf-8", "replace")).hexdigest()


def _box(session_id: str) -> SecretBox:
    return SecretBox(hashlib.sha256(b"seal " + session_id.encode()).digest())


def _sealed(session: AuthSession, purpose: str) -> rows.AuthRow:
    plain = orjson.dumps(session.request)
    if len(plain) > MAX_REQUEST:
        raise MatrixError(413, "M_TOO_LARGE", "The request is too large")
    box = _box(session.session_id)
    return rows.AuthRow(
        _key(session.session_id),
        purpose,
        b64encode(box.encrypt(plain)).decode(),
        orjson.dumps(session.completed).decode(),
        b64encode(box.encrypt(orjson.dumps(session.facts))).decode(),
    )


def _opened(session_id: str, row: rows.AuthRow) -> AuthSession:
    box = _box(session_id)
    return AuthSession(
        session_id,
        orjson.loads(box.decrypt(b64decode(row.request))),
        tuple(orjson.loads(row.completed)),
        orjson.loads(box.decrypt(b64decode(row.facts))),
        row,
    )
