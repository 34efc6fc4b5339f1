"""The campaign as tests: `pytest -m campaign`, a test for each kind of fault."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kinds import all_kinds
from trial import Field, Kind

pytestmark = pytest.mark.campaign


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_nothing_is_lost(kind: Kind, tmp_path: Path) -> None:
    field = Field(tmp_path, 1, time.monotonic() + kind.seconds)
    tried = []
    for one in kind.run(field):
        tried.append(one)
        if field.over:
            break
    assert tried, "nothing was tried"
    assert not [one for one in tried if one.lost]
