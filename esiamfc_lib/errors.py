"""The one exception that is meant for the user's eyes."""


class StudyError(Exception):
    """Something outside the program is wrong: a file, a parameter, a missing data set.

    The message is one clear sentence that names the file or parameter and the fault. The command
    line prints it without a traceback and exits with status 2.
    """
