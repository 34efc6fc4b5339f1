from scd_tui.tui.terminal import no_colour, over_ssh, refuse_reason


def test_only_a_terminal_that_can_move_its_cursor_will_do() -> None:
    assert refuse_reason({"TERM": "xterm-256color"}, True) is None
    assert "terminal" in (refuse_reason({"TERM": "xterm"}, False) or "")
    for term in ("dumb", ""):
        assert "attribute" in (refuse_reason({"TERM": term}, True) or "")
    assert refuse_reason({}, True) is not None


def test_the_environment_says_what_to_leave_out() -> None:
    assert over_ssh({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}) and not over_ssh({})
    assert no_colour({"NO_COLOR": "1"}) and not no_colour({"NO_COLOR": ""})
