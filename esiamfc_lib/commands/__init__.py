"""One file per sub-command of ``esiamfc``: ``arguments(parser)`` and ``main(args) -> int``."""
