"""No process outlives the one that needs it: children die with their parent, even where that is killed with -9.

Linux only (prctl(2), PR_SET_PDEATHSIG). Elsewhere an orphan ends by itself, when its pipe breaks or its job does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Looked up here, not in the child: between fork and exec nothing should import or allocate.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with(parent_pid: int, sig: int = signal.SIGKILL) -> None:
    """Tie the calling process to its parent; to be called in the child, whose parent's *thread* must live on too."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the line above
        os._exit(1)


def tied(sig: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` for `subprocess.Popen` that ties the new process to the calling one."""
    parent_pid = os.getpid()
    return lambda: die_with(parent_pid, sig)
