"""Start a command of the program that ends with the process that asked for it, however that one ends.

`python -m probe.commands.leash PARENT COMMAND ...`: the demo starts its provider and its daemon like this, for a demo
that is killed can stop nobody. Nothing else does: a daemon must outlive the terminal and the shell that began it.
"""

import ctypes
import os
import signal
import sys
from typing import Final

# Of prctl(2). The kernel keeps the word across exec.
PR_SET_PDEATHSIG: Final = 1


def end_with(parent: int) -> None:
    """Have the kernel send us SIGTERM when our parent ends; end now if it has already.

    Elsewhere than on Linux nothing is asked for.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-u", "-m", "probe", *sys.argv[2:]])  # noqa: S606 - our own program
