"""Memory, watched while something is done."""

from pathlib import Path

import pytest
import torch

from scd_tui.bench.memory import anonymous_bytes, watched

CPU = torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_what_is_allocated_for_a_moment_is_seen() -> None:
    def work() -> int:
        for _ in range(5):
            some = torch.ones(16 * 1024 * 1024)  # 64 MB
            some += 1
        return len(some)

    result, memory = watched(work, CPU)
    assert result == 16 * 1024 * 1024
    assert memory.before is not None and memory.peak is not None
    assert memory.peak - memory.before > 50e6


def test_where_the_kernel_tells_nothing_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("scd_tui.bench.memory._STATUS", tmp_path / "absent")
    assert anonymous_bytes() is None
    result, memory = watched(lambda: 7, CPU)
    assert (result, memory.before, memory.peak) == (7, None, None)
