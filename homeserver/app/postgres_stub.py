"""Becomes a PostgreSQL program: gives up root, ties its life to its owner's, and executes.

Run as a script of its own (`python -I -S postgres_stub.py OWNER UID GID SIGNAL FOLDER PROGRAM ARGUMENT...`), so that it
imports nothing of ours and no thread or handler of the owner comes along.
The order matters: changing the uid clears the parent-death signal, so that is asked for last. The folder is entered
before root is given up: a folder below a private home stays reachable as the working directory.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    owner, uid, gid, death_signal = (int(argument) for argument in sys.argv[1:5])
    folder, program = sys.argv[5:7]
    os.chdir(folder)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if death_signal and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != owner:  # it died before we asked to be told
            sys.exit("the process that starts the database is gone")
    os.umask(0o077)
    os.execv(program, sys.argv[6:])  # noqa: S606


if __name__ == "__main__":
    main()
