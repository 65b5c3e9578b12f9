"""Becomes another program that dies with its parent: `python guard.py PARENT_PID PROGRAM ARG...`, for `child.py`.

Between fork and exec, where such a request is usually made (`preexec_fn`), Python code may deadlock in a program that
has threads; so it is made here, after an exec of our own. Linux keeps the request across the second exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, *argv: str) -> None:
    """Ask the kernel for SIGKILL at the parent's death, then exec `argv`; elsewhere than on Linux only exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request was made
            sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
