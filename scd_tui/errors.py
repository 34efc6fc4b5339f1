"""The exceptions whose text is meant for the user."""


class InputError(ValueError):
    """What was asked cannot be done as asked. The message is one sentence that says what to do."""

    exit_code = 2
    """Of the command that it ends: the call was wrong."""


class RunError(InputError):
    """The call was right and something outside failed it: a network, a disk, a file that is damaged."""

    exit_code = 1
