"""One papermill run of one notebook, with every way of failing told apart from success.

papermill alone is too kind: an unknown parameter only warns, a failed notebook is left looking
like a finished one, and a killed kernel leaves cells that say ``completed``.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from esiamfc_lib.chain.kernels import Kernels, end_kernel
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import CHAIN

START_TIMEOUT = 180
"""Seconds that a kernel may take to start; a busy machine can be slow."""


class NotebookFailed(StudyError):
    """A notebook did not run to its end."""


def run_notebook(
    notebook: Path,
    executed: Path,
    parameters: Mapping[str, Any],
    outputs: Iterable[Path] = (),
    environment: Mapping[str, str] | None = None,
    kernels: Kernels | None = None,
    on_start: Callable[[dict[str, float]], None] = lambda kernel: None,
    on_cell: Callable[[int], None] = lambda number: None,
) -> None:
    """Execute ``notebook`` with ``parameters`` and write it, with its outputs, to ``executed``.

    The kernel is this very Python, its folder the notebook's (as in Jupyter); what it writes
    outside of cells goes to ``executed`` with the ending ``.log``.

    Args:
        parameters: JSON types; every name must be in the notebook's ``parameters`` cell, else a
            StudyError is raised.
        outputs: files that must be there at the end.
        environment: variables set in the kernel on top of this process's.
        kernels: register of running kernels.
        on_start: called with process id and creation time of the kernel.
        on_cell: called with the number of the code cell that starts, from 1.

    Raises:
        NotebookFailed: a cell failed, the kernel died, or an output is missing.
    """
    check_parameters(notebook, parameters)
    executed.parent.mkdir(parents=True, exist_ok=True)
    log = executed.with_suffix(".log")
    kernels = kernels or Kernels()
    started = 0

    def count(cell, cell_index):
        nonlocal started
        if cell.cell_type == "code":  # the hook is called for prose, too
            started += 1
            on_cell(started)

    try:
        done = papermill.execute_notebook(
            _verbatim(notebook),
            _verbatim(executed),
            parameters=dict(parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            kernel_manager_class=_kernel_class(environment or {}, log, kernels, on_start),
            resources={"metadata": {"path": str(notebook.parent)}},
            on_cell_start=count,
        )
    except PapermillExecutionError as error:
        raise NotebookFailed(_sentence(error.ename, error.evalue, started)) from None
    except DeadKernelError:
        died = f"the kernel died in code cell {started} (killed, or out of memory; see {log})"
        raise NotebookFailed(died) from None
    except RuntimeError as error:
        raise NotebookFailed(f"the kernel did not start ({error}; see {log})") from None
    finally:
        if log.is_file() and not log.stat().st_size:
            log.unlink()
    # a cell that stops the kernel politely (``exit()``) is no error to papermill; to us it is
    cells = [cell for cell in done.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(cells, start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                raise NotebookFailed(_sentence(output.ename, output.evalue, number))
        if cell.execution_count is None:
            raise NotebookFailed(f"code cell {number} did not run")
    missing = [str(path) for path in outputs if not path.is_file()]
    if missing:
        raise NotebookFailed(f"it ended without an error but did not write {', '.join(missing)}")


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """A StudyError where a notebook lacks a ``parameters`` cell, or that cell one of the names."""
    if not notebook.is_file():
        raise StudyError(f"no notebook {notebook}")
    # what papermill logs, the callers of this module say themselves and more clearly
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    try:
        known = papermill.inspect_notebook(_verbatim(notebook))
    except nbformat.reader.NotJSONError:
        raise StudyError(f"{notebook} is not a notebook") from None
    except ValueError:
        raise StudyError(f"{notebook} names no kernel: open and save it in Jupyter") from None
    if not known:
        raise StudyError(f"{notebook} has no cell tagged 'parameters' with a parameter in it")
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise StudyError(f"{notebook.name} has no parameter {', '.join(unknown)}")


def _kernel_class(
    environment: Mapping[str, str], log: Path, kernels: Kernels, on_start: Callable
) -> type[AsyncKernelManager]:
    """A kernel manager for one run, whose kernel is this process's own interpreter.

    Otherwise a kernel named ``python3`` that the user installed from elsewhere would win.
    """

    class StageKernel(AsyncKernelManager):
        pid = 0

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            # its warnings are of remote kernels, its errors of the interrupt that ends every kernel
            command += ["--log-level=CRITICAL"]
            return KernelSpec(argv=command, env={CHAIN: "1", **environment}, language="python")

        async def start_kernel(self, **options) -> None:
            with log.open("wb") as file:
                await super().start_kernel(**options, stdout=file, stderr=file)
            self.pid = self.provisioner.pid
            kernels.add(self.pid)
            on_start({"pid": self.pid, "created": psutil.Process(self.pid).create_time()})

        async def cleanup_resources(self, restart: bool = False) -> None:
            if self.pid:
                end_kernel(self.pid)  # workers that the notebook left behind
                kernels.discard(self.pid)
            await super().cleanup_resources(restart)

    return StageKernel


def _sentence(ename: str, evalue: str, cell: int) -> str:
    """A fault in one line; a StudyError speaks for itself."""
    text = " ".join(evalue.split())
    return text if ename == StudyError.__name__ else f"code cell {cell}: {ename}: {text}"


def _verbatim(path: Path) -> str:
    """papermill fills ``{name}`` in paths with parameters; a real folder may hold braces."""
    return str(path).replace("{", "{{").replace("}", "}}")
