"""What the app says of its own files that cannot be read."""

from textual.app import App

from scd_tui.aside import untold, words_on
from scd_tui.history import History
from scd_tui.text import visible

SECONDS = 20


def damaged_files(history: History) -> str:
    """What was moved aside and not told yet, and which past circuits were passed over; "" for nothing.

    It reads folders: the app calls it in a thread.
    """
    stayed = [one for one in history.passed_over() if one.kept is None]
    sentences = [words_on(untold())]
    if len(stayed) == 1:
        sentences.append(f"{stayed[0].path} was passed over: {stayed[0].why}")
    elif stayed:
        sentences.append(f"{len(stayed)} files in {stayed[0].path.parent} were passed over")
    return "; ".join(words for words in sentences if words)


def tell_of_files(app: App[int], words: str) -> None:
    """Show such a sentence, if there is one."""
    if words:
        app.notify(
            f"{visible(words)}. `scd-tui doctor` says more.",
            title="Damaged files",
            severity="warning",
            markup=False,
            timeout=SECONDS,
        )
