"""What a waiting client looks for in an answer: its bytes are searched, not parsed."""

import re

_NEXT_BATCH = re.compile(rb'"next_batch":\s*"([^"]+)"')
_MARK = re.compile(rb'"tick ([0-9a-f]+) (\d+)"')


def next_batch(answer: bytes) -> str:
    """The token to sync from next."""
    found = _NEXT_BATCH.search(answer)
    if found is None:
        raise ValueError("a sync answer has no next_batch")
    return found[1].decode()


def mark(run: str, number: int) -> str:
    """A message body that is found again."""
    return f"tick {run} {number}"


def marks(run: str, answer: bytes) -> list[int]:
    """The numbers of this run's messages in a sync answer."""
    wanted = run.encode()
    return [int(number) for name, number in _MARK.findall(answer) if name == wanted]
