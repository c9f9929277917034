"""Verifies signatures in a process of its own, on another core than the server's (see `signature_process`).

An order is the number of its entries, the length of each, then the entries: a public key (32 bytes), a signature (64)
and what was signed. The answer has a byte for each entry: 1 where the signature holds. It ends with its input.
"""

import sys
from struct import Struct, unpack
from typing import BinaryIO

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

_COUNT = Struct("!I")
_KEY = 32


def main(orders: BinaryIO, answers: BinaryIO) -> None:
    """Until there are no more orders."""
    while head := orders.read(_COUNT.size):
        (count,) = _COUNT.unpack(head)
        lengths = unpack(f"!{count}I", orders.read(4 * count))
        entries = [orders.read(length) for length in lengths]
        answers.write(bytes(map(_holds, entries)))
        answers.flush()


def _holds(entry: bytes) -> bool:
    try:
        crypto_sign_open(entry[_KEY:], entry[:_KEY])
    except (CryptoError, ValueError):
        return False
    return True


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
