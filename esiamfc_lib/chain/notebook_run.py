"""One papermill run of one notebook, with every way of failing told apart from success.

papermill alone is too kind: an unknown parameter only warns, a failed notebook is left looking
like a finished one, and a killed kernel leaves cells that say ``completed``."""

import builtins
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import papermill
import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from esiamfc_lib.chain.fingerprint import check_notebook
from esiamfc_lib.chain.kernels import Kernels, caches, end_kernel
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import CHAIN

# what papermill logs, the callers of this module say themselves and more clearly
logging.getLogger("papermill").setLevel(logging.CRITICAL)


class NotebookFailed(StudyError):
    """A notebook did not run to its end."""


def run_notebook(
    notebook: Path,
    executed: Path,
    parameters: Mapping[str, Any],
    outputs: Iterable[Path] = (),
    environment: Mapping[str, str] | None = None,
    kernels: Kernels | None = None,
    on_cell: Callable[[int], None] = lambda number: None,
) -> None:
    """Execute ``notebook`` with ``parameters``, of JSON types, and write it, with its outputs, to
    ``executed``. The kernel is this very Python, its folder the notebook's (as in Jupyter); what it
    writes outside of cells goes to ``executed`` with the ending ``.log``. ``outputs`` must be there
    at the end; ``environment`` is set in the kernel on top of this process's; ``kernels`` registers
    those that run, and on Linux forks them from one process; ``on_cell`` is called with the number
    of the code cell that starts, from 1.

    StudyError: the notebook's ``parameters`` cell lacks a name. NotebookFailed: a cell failed, the
    kernel died, or a file is missing or cannot be written."""
    check_notebook(notebook, parameters)
    executed.parent.mkdir(parents=True, exist_ok=True)
    log = executed.with_suffix(".log")
    # to load PyTorch and others pays for several notebooks that need them, and not all of these
    # libraries bear a fork elsewhere than on Linux
    forks = kernels is not None and sys.platform == "linux"
    forks = forks and "esiamfc_lib" in notebook.read_text(encoding="utf-8")
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
            start_timeout=180,  # seconds; a busy machine can be slow
            kernel_manager_class=_kernel_class(environment or {}, log, kernels, forks),
            resources={"metadata": {"path": str(notebook.parent)}},
            on_cell_start=count,
        )
    except PapermillExecutionError as error:
        raise NotebookFailed(_sentence(error.ename, error.evalue, started)) from None
    except DeadKernelError:
        died = f"the kernel died in code cell {started} (killed, or out of memory{_hint(log)})"
        raise NotebookFailed(died) from None
    except RuntimeError as error:
        raise NotebookFailed(f"the kernel did not start ({error}{_hint(log)})") from None
    except OSError as error:  # of a full disk, it names no file
        raise NotebookFailed(f"{error.filename or executed}: {error.strerror}") from error
    finally:
        if not _hint(log):
            log.unlink(missing_ok=True)
    # a cell that stops the kernel politely (``exit()``) is no error to papermill; to us it is
    cells = [cell for cell in done.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(cells, start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                raise NotebookFailed(_sentence(output.ename, output.evalue, number))
        if cell.execution_count is None:
            raise NotebookFailed(f"code cell {number} did not run")
    if missing := [str(path) for path in outputs if not path.is_file()]:
        raise NotebookFailed(f"it ended without an error but did not write {', '.join(missing)}")


class ForkedKernel(psutil.Process):
    """A kernel's process as jupyter_client handles one, which is not this process's child."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        """None while it runs."""
        with suppress(psutil.NoSuchProcess):
            if self.is_running() and self.status() != psutil.STATUS_ZOMBIE:
                return None
        return 0


class Forking(LocalProvisioner):
    """Starts a kernel of ``kernels`` by a fork."""

    kernels: Kernels

    async def launch_kernel(self, cmd: list[str], **options) -> dict:
        """As that of ``LocalProvisioner``."""
        env, cwd, log = options["env"], str(options["cwd"]), options["stdout"].name
        # -m NAME is no argument of a program
        pid = self.kernels.fork(cmd[cmd.index("-m") + 1 :], env, cwd, log)
        self.process, self.pid, self.pgid, self.cwd = ForkedKernel(pid), pid, pid, cwd
        return self.connection_info


def _kernel_class(
    environment: Mapping[str, str], log: Path, kernels: Kernels, forks: bool
) -> type[AsyncKernelManager]:
    """A kernel manager for one run, whose kernel is this process's own interpreter. Otherwise a
    kernel named ``python3`` that the user installed from elsewhere would win."""

    values = {CHAIN: "1", **caches(log.parent.parent), **environment}

    class StageKernel(AsyncKernelManager):
        pid = 0

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            # its warnings are of remote kernels, its errors of the interrupt that ends every kernel
            command += ["--log-level=CRITICAL", "--HistoryManager.enabled=False"]
            return KernelSpec(argv=command, env=values, language="python")

        async def start_kernel(self, **options) -> None:
            if forks:
                own = {"kernel_id": log.stem, "kernel_spec": self.kernel_spec, "parent": self}
                self.provisioner = Forking(**own)
                self.provisioner.kernels = kernels
            with log.open("wb") as file:
                await super().start_kernel(**options, stdout=file, stderr=file)
            self.pid = self.provisioner.pid
            kernels.running.add(self.pid)
            if kernels.stopped:
                end_kernel(self.pid)

        async def cleanup_resources(self, restart: bool = False) -> None:
            if self.pid:
                end_kernel(self.pid)  # workers that the notebook left behind
                kernels.running.discard(self.pid)
            await super().cleanup_resources(restart)

    return StageKernel


def _sentence(ename: str, evalue: str, cell: int) -> str:
    """A fault in one line; a StudyError speaks for itself, an OSError for its file."""
    text = " ".join(evalue.split())
    if ename in ("StudyError", "DiskFullError"):
        return text
    refused = re.fullmatch(r"\[Errno \d+\] (.*?)(?:: ['\"](.*)['\"])?", text)
    if refused and issubclass(getattr(builtins, ename, object), OSError):
        return f"{refused[2] or f'code cell {cell}'}: {refused[1]}"
    return f"code cell {cell}: {ename}: {text}"


def _hint(log: Path) -> str:
    """Where to read more, if the kernel wrote something."""
    return f"; see {log}" if log.is_file() and log.stat().st_size else ""


def _verbatim(path: Path) -> str:
    """papermill fills ``{name}`` in paths with parameters; a real folder may hold braces."""
    return str(path).replace("{", "{{").replace("}", "}}")
