from importlib.metadata import version

from scd_tui.doctor.software import software


def test_this_environment_is_as_required() -> None:
    found = {one.name: one for one in software()}
    assert set(found) == {"python", "packages"}
    assert found["packages"].facts["torch"] == version("torch")
    assert found["packages"].facts["sae_lens"] == version("sae-lens")
    assert "pytest" not in found["packages"].facts, "what only tests need is not asked for"


def test_what_is_missing_stops_the_app_and_what_is_old_does_not() -> None:
    wanted = ["rich>=14", "textual>=99", "no-such-package>=2", 'unheard-of; extra == "test"']
    found = {one.name: one for one in software(wanted)}
    assert found["textual"].state == "warn"
    assert found["textual"].says == f"{version('textual')}, and textual>=99 is needed"
    assert found["no_such_package"].state == "problem"
    assert found["no_such_package"].todo == "pip install 'no-such-package>=2'"
    assert found["packages"].says.endswith("1 of 3 are as required")
