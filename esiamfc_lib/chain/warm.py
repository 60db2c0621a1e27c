"""The process that the chain's kernels are forked from: it loads once what takes seconds to load.

A script of its own, never imported. It loads none of this library's modules, which may be edited
while the chain runs, and starts no thread but those of BLAS, which end at a fork by themselves.
Every line of its input is an order: ``argv``, ``env``, ``cwd`` and ``log`` of a kernel, which says
its process id. When the input ends, this process ends, and the kernels with it."""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import warnings

LIBRARIES = (
    *("ipykernel.kernelapp", "pandas", "matplotlib.pyplot", "scipy.stats", "sklearn.decomposition"),
    *("cv2", "lightning_fabric"),  # the latter loads PyTorch
)
PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent has ended


def main() -> None:
    """Fork until the input ends; in a kernel, be one."""
    # a kernel sets it, too, but matplotlib reads it when it is loaded
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # the collector of a kernel touches, and so copies, nothing of this
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended kernels leave no zombies
    for line in sys.stdin:
        with warnings.catch_warnings(action="ignore"):  # of the threads of BLAS
            kernel = os.fork() == 0
        if kernel:
            _become_kernel(json.loads(line))
            return


def _become_kernel(order: dict) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(1, b"%d\n" % os.getpid())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = order["argv"]

    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


if __name__ == "__main__":
    main()
