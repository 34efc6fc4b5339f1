import pytest
from benchmarks.driven import Report


@pytest.fixture
def report(record_property: Report) -> Report:
    """Keeps what was measured with the test, and prints it where output is shown."""

    def say(name: str, value: object) -> None:
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201

    return say
