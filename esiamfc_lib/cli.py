"""The command line: ``esiamfc COMMAND ...``.

A command's module is imported only when it is called, so that a light command stays fast and a
broken one does not take the others down."""

import importlib
import signal
import sys
import tempfile
import traceback
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType

from esiamfc_lib import __version__
from esiamfc_lib.errors import StudyError, in_words

COMMANDS = {
    "demo": "track objects in a clip that is here, and say what to try next",
    "run": "run the study, or the part of it that changed",
    "report": "write the page of a run's reports",
    "store": "build, check, merge and describe crop stores",
    "convert": "convert network weights between formats",
    "track": "track objects through a video",
    "evaluate": "score trackers on a benchmark",
}
"""Name of the command -> what it does; its module is ``commands/<name>.py``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Gives 0 for success, 1 where the work failed or an error is ours (its
    traceback goes to a file), 2 for bad input or a file that cannot be read or written, 130 when
    interrupted (143 by SIGTERM); each with one sentence on stderr."""
    argv = list(sys.argv[1:] if argv is None else argv)
    warnings.filterwarnings("ignore", ".*tasks.*", UserWarning, "joblib")  # of work that was ended
    known = "\n".join(f"  {name:<15}{does}" for name, does in COMMANDS.items())
    top = ArgumentParser(
        prog="esiamfc",
        usage="esiamfc [-h] [--version] COMMAND ...",
        description="A reproducible study of ESiamFC, an ensemble of SiamFC trackers.",
        epilog=f"commands:\n{known}\n\n'esiamfc COMMAND -h' explains one of them.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"esiamfc {__version__}")
    top.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    name = top.parse_args(argv[:1]).command
    load = partial(importlib.import_module, f"esiamfc_lib.commands.{name}")
    return run(f"esiamfc {name}", load, argv[1:])


def run(prog: str, load: Callable[[], ModuleType], argv: Sequence[str]) -> int:
    """Run the command that ``load`` gives: ``arguments(parser)`` adds its options, ``main(args)``
    does it. Gives the exit status, as ``main``."""
    try:
        command = load()
        parser = ArgumentParser(prog=prog, description=command.__doc__)
        command.arguments(parser)
        return command.main(parser.parse_args(argv))
    except ImportError as error:
        print(f"{prog}: cannot be loaded ({error})", file=sys.stderr)
        return 2
    except (StudyError, OSError) as error:
        print(f"{prog}: {in_words(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except Exception as error:
        print(f"{prog}: {_unexpected(prog.split()[-1], error)}", file=sys.stderr)
        return 1


def _unexpected(name: str, error: Exception) -> str:
    """One sentence for an unexpected error; writes the traceback to a file."""
    text = "".join(traceback.format_exception(error))
    what = f"an unexpected error, {type(error).__name__}: {' '.join(str(error).split())}"
    try:
        kept = {"prefix": f"esiamfc-{name}-", "suffix": ".log", "delete": False}
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", **kept) as log:
            log.write(text)
    except OSError:
        return f"{what}\n{text}"
    return f"{what}; please report it with the traceback in {log.name}"


if __name__ == "__main__":
    sys.exit(main())
