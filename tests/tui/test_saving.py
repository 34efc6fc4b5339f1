"""Saving from the app: what lies under the name already stays, whatever it is."""

import os
import threading
from pathlib import Path

import msgspec
from textual.pilot import Pilot
from tui.samples import circuit
from tui.test_app import run, settle

from scd_tui.graph import Circuit, Node, NodeId
from scd_tui.history import View
from scd_tui.saved import decode_saved
from scd_tui.tui.app import ScdApp
from scd_tui.tui.saving import save, stem_of


def test_nothing_that_has_the_name_is_touched(tmp_path: Path) -> None:
    stem = stem_of(circuit())
    paths = [tmp_path / f"{stem}.json", *(tmp_path / f"{stem}-{n}.json" for n in range(2, 6))]
    paths[0].symlink_to("none")
    os.mkfifo(paths[1])
    paths[2].mkdir()
    paths[3].symlink_to(paths[3].name)
    path, written = save(tmp_path, circuit(), View())
    assert (path, written) == (paths[4], True)
    assert decode_saved(path.read_bytes())[0] == circuit()
    assert not (tmp_path / "none").exists() and paths[1].is_fifo() and paths[2].is_dir()
    assert save(tmp_path, circuit(), View()) == (path, False)


def test_two_that_save_at_once_get_a_file_each(tmp_path: Path) -> None:
    def one(number: int) -> None:
        for step in range(10):
            gate.wait()
            save(tmp_path, _with(number * 100 + step), View())

    gate = threading.Barrier(2)
    threads = [threading.Thread(target=one, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {decode_saved(path.read_bytes())[0].metric_value for path in tmp_path.iterdir()}
    assert found == {number * 100.0 + step for number in (1, 2) for step in range(10)}


def _with(value: float) -> Circuit:
    return msgspec.structs.replace(circuit(), metric_value=value)


def test_what_keeps_a_file_from_being_written_is_one_sentence(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        app._save_to = tmp_path / "gone"
        for action in (app.action_save, app.deliver_screenshot):
            action()
            await settle(pilot)
            said = app.session.message
            assert said.startswith("not saved: ") and "folder does not exist" in said
            app.session.say("")
        app._save_to = None
        before, deleted = Path.cwd(), tmp_path / "deleted"
        deleted.mkdir()
        os.chdir(deleted)
        try:
            deleted.rmdir()
            app.action_save()
            await settle(pilot)
        finally:
            os.chdir(before)
        assert app.session.message == "not saved: its folder does not exist"

    run(test)


def test_numbers_that_no_file_can_hold_are_one_sentence(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        app.session.store.add_nodes([Node(NodeId("mlp_out.0/7@1"), float("nan"), 1.0)])
        await pilot.press("s")
        await settle(pilot)
        assert "NaN or infinite: nothing is written" in app.session.message
        assert not list(tmp_path.iterdir())

    run(test, save_to=tmp_path)
