"""What do faults cost a user? Run with `python tests/faults`.

Faults of every kind are tried on the program as it is started by a user: damaged files, special files,
keys in bursts, signals, closed pipes, a network that answers nonsense. The table says for each kind how
many were tried, and how many lost something: a crash, a hang, an exception's name in place of a sentence,
a control character on a terminal, a file or a note that is gone. The exit status is 1 if any did.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

# the tests' own helpers lie above
sys.path.insert(0, str(Path(__file__).parent.parent))

from kinds import all_kinds
from table import Row, as_markdown
from trial import Field, Kind


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/faults", description=__doc__)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--seed", type=int, default=1, help="of the random ones (%(default)s)")
    parser.add_argument("--seconds", type=float, help="the most that each kind may take")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each fault tried")
    parser.add_argument("--list", action="store_true", help="name the kinds and end")
    given = parser.parse_args(arguments)
    chosen = [kind for kind in all_kinds() if given.only in kind.name]
    if given.list:
        for kind in chosen:
            _say(f"{kind.name:16} {kind.title}, {kind.seconds:.0f} s")
        return 0
    log = (given.log or Path(tempfile.mkdtemp()) / "faults.log").resolve()
    _say(f"seed {given.seed}; each fault is in {log}")
    rows = []
    for kind in chosen:
        row = try_all(kind, given.seed, given.seconds or kind.seconds, log)
        rows.append(row)
        _say(f"{kind.name}: {row.tried} tried, {len(row.lost)} lost, {row.seconds:.0f} s")
        for tried in row.lost:
            _say(f"  {tried.fault}: {tried.lost}")
    _say(as_markdown(rows))
    return 1 if any(row.lost for row in rows) else 0


def try_all(kind: Kind, seed: int, seconds: float, log: Path) -> Row:
    """Try one kind for at most about `seconds`, with a line in `log` for each fault."""
    started = time.monotonic()
    tried, lost = 0, []
    with (
        tempfile.TemporaryDirectory(prefix=f"{kind.name}-", ignore_cleanup_errors=True) as folder,
        log.open("a", encoding="utf-8") as lines,
    ):
        field = Field(Path(folder), seed, started + seconds)
        for one in kind.run(field):
            tried += 1
            lines.write(f"{kind.name}\t{one.fault!r}\t{one.lost!r}\n")
            lines.flush()
            if one.lost:
                lost.append(one)
            if field.over:
                break
    return Row(kind, tried, tuple(lost), time.monotonic() - started)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
