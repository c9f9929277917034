"""How much of other servers' may be in the works."""

import pytest

from federation.inbound.backlog import RUNNING_BYTES, RUNNING_EACH, WAITING_ALL, WAITING_EACH, Backlog
from homeserver.core.errors import MatrixError

A, B = "a.example", "b.example"


def test_transactions_of_one_server() -> None:
    backlog = Backlog()
    for _ in range(RUNNING_EACH):
        backlog.enter(A, 10)
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED"):
        backlog.enter(A, 10)
    backlog.enter(B, 10)
    backlog.leave(A, 10)
    backlog.enter(A, 10)


def test_memory_of_all() -> None:
    backlog = Backlog()
    backlog.enter(A, RUNNING_BYTES + 1)  # alone it may be what it is
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED"):
        backlog.enter(B, 1)
    backlog.leave(A, RUNNING_BYTES + 1)
    backlog.enter(B, 1)


def test_rows_on_disk() -> None:
    backlog = Backlog()
    backlog.add(A, WAITING_EACH)
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED"):
        backlog.require_room(A, 1)
    backlog.require_room(A, 0)  # EDUs still pass
    backlog.require_room(B, 1)
    backlog.remove(A)
    backlog.require_room(A, 1)
    backlog.add(B, WAITING_ALL - WAITING_EACH + 1)
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED"):
        backlog.require_room(B, 1)


def test_more_cannot_go_than_came() -> None:
    backlog = Backlog()
    backlog.add(A, 1)
    backlog.remove(A, 5)
    assert backlog.total == 0
