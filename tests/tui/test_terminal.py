from scd_tui.tui.terminal import (
    light_background,
    no_colour,
    over_ssh,
    refuse_reason,
    speaks_unicode,
)


def test_only_a_terminal_that_can_move_its_cursor_will_do() -> None:
    assert refuse_reason({"TERM": "xterm-256color"}, True) is None
    assert "terminal" in (refuse_reason({"TERM": "xterm"}, False) or "")
    for term in ("dumb", ""):
        assert "attribute" in (refuse_reason({"TERM": term}, True) or "")
    assert refuse_reason({}, True) is not None


def test_the_environment_says_what_to_leave_out() -> None:
    assert over_ssh({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}) and not over_ssh({})
    assert no_colour({"NO_COLOR": "1"}) and not no_colour({"NO_COLOR": ""})


def test_a_locale_of_another_encoding_and_a_bare_console_have_no_unicode() -> None:
    assert speaks_unicode({}) and speaks_unicode({"LANG": "C"})
    assert speaks_unicode({"LANG": "en_GB.UTF-8"}) and speaks_unicode({"LC_CTYPE": "C.utf8"})
    assert not speaks_unicode({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "en_GB.UTF-8"})
    assert not speaks_unicode({"TERM": "linux", "LANG": "en_GB.UTF-8"})


def test_a_light_background_is_known_where_the_terminal_says_so() -> None:
    assert light_background({"COLORFGBG": "0;15"})
    assert not light_background({"COLORFGBG": "15;0"}) and not light_background({})
