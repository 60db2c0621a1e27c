"""Work spread over processes: joblib on this machine, or the workers of a Dask scheduler."""

import logging
import operator
import os
import pickle
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from itertools import chain, islice

import cv2
import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.code import code_digest

ROUND = 32  # jobs a worker gets before whoever takes the results must have caught up
DASK_SECONDS = 25  # to find the scheduler, or a worker there that has memory
PROOF_SECONDS = 240  # for all workers to load this library and to look at the data
PROVED = set()  # runs for which this worker process has shown that it is like the client


def spread(
    function: Callable, jobs: Iterable, workers: int, scheduler="", proof=None, ordered=True
) -> Iterator:
    """``map`` over processes (joblib) or the workers of a Dask scheduler.

    Args:
        scheduler: its address; ``proof`` gives, of the first job, facts by name that every worker
            must find like this process, such as digests of data; versions and code are compared,
            too, all before any work.
        ordered: as ``map``, in rounds, so that results never pile up before a slow disk; else each
            result as soon as it is there.

    A StudyError: no scheduler, a worker that differs or lacks something, none left, one killed."""
    jobs = iter(jobs)
    if workers == 1 and not scheduler:
        yield from map(function, jobs)
        return
    for first in jobs if scheduler else ():
        jobs = chain([first], jobs)
        yield from _by_dask(function, jobs, scheduler, ordered, partial(proof, first))
    order = "generator" if ordered else "generator_unordered"
    loky = {"inner_max_num_threads": 1, "initializer": _begin, "initargs": (os.getpid(),)}
    try:
        with joblib.Parallel(workers, "loky", order, batch_size=1, **loky) as parallel:
            for first in jobs:
                these = chain([first], islice(jobs, ROUND * workers - 1 if ordered else None))
                yield from parallel(joblib.delayed(function)(job) for job in these)
    except BrokenExecutor:
        said = "a worker process was killed, perhaps for want of memory: what is finished is kept"
        raise StudyError(f"{said}, start again, with less than {workers} workers") from None


def _by_dask(function: Callable, jobs: Iterator, scheduler, ordered, proof) -> Iterator:
    """``spread`` over Dask's workers; a job whose worker is lost is done again by another one."""
    import cloudpickle
    from distributed import Client, KilledWorker, wait

    for name in ("distributed", "distributed.client"):  # what goes wrong is said below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    work = partial(_proved, os.urandom(8), facts_of(function) | proof(), function, proof)

    def submit(job):  # in bytes: the scheduler, which may lack this library, unpacks what it gets
        pickled = cloudpickle.dumps((work, job))
        return client.submit(lambda p: operator.call(*pickle.loads(p)), pickled, pure=False)

    try:
        with Client(scheduler, timeout=DASK_SECONDS) as client:
            client.wait_for_workers(1, DASK_SECONDS)
            ask = {"on_error": "return", "callback_timeout": PROOF_SECONDS}
            for address, fault in client.sync(client.run, work, **ask).items():
                if fault is not None:
                    raise StudyError(f"worker {address}: {fault}")
            waiting = [*map(submit, islice(jobs, ROUND * sum(client.nthreads().values())))]
            while waiting:
                try:
                    ended = wait(waiting[:1] if ordered else waiting, 5, "FIRST_COMPLETED").done
                    result = (future := ended.pop()).result(DASK_SECONDS)
                except TimeoutError:
                    client.wait_for_workers(1, DASK_SECONDS)
                    continue
                waiting.remove(future)
                waiting += map(submit, islice(jobs, 1))
                yield result
    except (CancelledError, ImportError, KilledWorker, OSError, ValueError) as error:
        lost = isinstance(error, CancelledError)
        said = "the scheduler was lost" if lost else " ".join(str(error).split()) or "no answer"
        raise StudyError(f"Dask at {scheduler}: {said}; what is finished is kept") from None


def facts_of(function: Callable) -> dict:
    """What the results of this process depend on besides jobs and data."""
    python = platform.python_version().rpartition(".")[0]
    versions = f"{python} {np.__version__} {cv2.__version__} {metadata.version('torch')}"
    code = code_digest(getattr(function, "func", function).__module__)
    return {"Python, NumPy, OpenCV, PyTorch": versions, "esiamfc_lib": code}


def _proved(run: bytes, here: dict, function: Callable, proof: Callable, *job):
    """In a Dask worker: do a job, or none, after proof that this process is like the client."""
    from distributed import get_worker

    try:
        there = {} if run in PROVED else facts_of(function)
        there |= proof() if there and there.items() <= here.items() else {}
        if wrong := [name for name, value in there.items() if here.get(name) != value]:
            said = [f"{name} is {there[name]!s:.40}, here {here.get(name)!s:.40}" for name in wrong]
            raise StudyError(f"differs from this machine: {'; '.join(said)}")
        PROVED.add(run)
        return function(*job) if job else None
    except (StudyError, OSError, MemoryError) as error:
        where = f"worker {get_worker().address}: " if job else ""
        raise StudyError(f"{where}{error or 'no memory is left'}") from None


def _begin(parent: int) -> None:
    """Limit this worker's threads; end it soon after its parent, which cannot when killed."""
    cv2.setNumThreads(1)  # joblib limits the threads of all other libraries
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process when its parent has ended, in about half a second."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def threads(count: int):
    """PyTorch, OpenCV and numpy with so many threads; other threads call what this gives. All
    three: the threads of any one of them wait busily and slow down whoever shares their core."""
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
