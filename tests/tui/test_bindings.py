from scd_tui.tui.bindings import all_keys, checked_keymap


def test_no_key_has_two_actions_that_can_be_reached_at_once() -> None:
    assert checked_keymap({}) == ({}, "")


def test_keys_are_written_as_they_are_pressed() -> None:
    good, problem = checked_keymap({"node.ablate": "Z, ctrl+x", "app.help": "!"})
    assert (good, problem) == ({"node.ablate": "Z,ctrl+x", "app.help": "exclamation_mark"}, "")


def test_what_cannot_be_used_is_left_out_and_told() -> None:
    good, problem = checked_keymap({"node.ablat": "z", "tree.fold": "z"})
    assert good == {"tree.fold": "z"} and "no action 'node.ablat'" in problem
    good, problem = checked_keymap({"node.ablate": "q", "tree.fold": "z"})
    assert good == {"tree.fold": "z"}
    assert "q would be both app.quit and node.ablate" in problem


def test_two_actions_can_change_places() -> None:
    swapped = {"app.quit": "x", "node.ablate": "q"}
    assert checked_keymap(swapped) == (swapped, "")


def test_actions_of_different_panes_can_share_a_key() -> None:
    shared = {"completions.contrast": "v"}
    assert checked_keymap(shared) == (shared, "")


def test_every_action_says_what_it_does_and_is_named_once() -> None:
    names = [one.id for _, keys in all_keys() for one in keys]
    assert len(set(names)) == len(names)
    assert all(one.description for _, keys in all_keys() for one in keys)
