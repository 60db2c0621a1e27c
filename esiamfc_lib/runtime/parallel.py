"""Work spread over processes: joblib on this machine, or the workers of a Dask scheduler."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

import cv2
import joblib
from threadpoolctl import threadpool_limits

from esiamfc_lib.errors import StudyError

ROUND = 32  # jobs a worker gets before whoever takes the results must have caught up
DASK_SECONDS = 10  # to find the scheduler


def spread(function: Callable, jobs: Iterable, workers: int, scheduler: str = "") -> Iterator:
    """``map`` over processes (joblib) or the workers of a Dask scheduler, in order.

    The jobs are handed out in rounds, so that results never pile up before a slow disk.
    """
    jobs = iter(jobs)
    if workers == 1 and not scheduler:
        yield from map(function, jobs)
        return
    with (
        backend(workers, scheduler) as size,
        joblib.Parallel(n_jobs=size, batch_size=1, return_as="generator") as parallel,
    ):
        for first in jobs:
            these = chain([first], islice(jobs, ROUND * size - 1))
            yield from parallel(joblib.delayed(function)(job) for job in these)


@contextmanager
def backend(workers: int, scheduler: str) -> Iterator[int]:
    """Choose joblib's backend; gives the number of processes."""
    if not scheduler:
        with joblib.parallel_config(
            backend="loky", inner_max_num_threads=1, initializer=_begin, initargs=(os.getpid(),)
        ):
            yield workers
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=DASK_SECONDS)
    except (OSError, ValueError) as error:
        raise StudyError(f"no Dask scheduler at {scheduler}: {error}") from error
    with client, joblib.parallel_config(backend="dask"):
        yield max(sum(client.nthreads().values()), 1)


def _begin(parent: int) -> None:
    """Limit this worker's threads; end it soon after its parent, which cannot when killed."""
    cv2.setNumThreads(1)  # joblib limits the threads of all other libraries

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def threads(count: int):
    """PyTorch, OpenCV and numpy with so many threads; other threads call what this gives.

    All three: the threads of any one of them wait busily and slow down whoever shares their core.
    """
    import torch  # here: those that cut crops or draw videos start without it

    before, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield lambda: torch.set_num_threads(count)
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(of_opencv)
