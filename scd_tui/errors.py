"""The one exception whose text is meant for the user."""


class InputError(ValueError):
    """What was asked cannot be done as asked. The message is one sentence that says what to do."""
