import subprocess
import sys
from pathlib import Path

import pytest

from scd_tui.doctor.paths import file, folder, folder_size


def kept(path: Path, private: bool = True):
    return folder("kept", path, private=private, needed_for="what is kept")


def test_a_folder_s_size_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "b" / "two").write_bytes(b"x" * 234)
    (tmp_path / "link").symlink_to("a/one")
    (tmp_path / "round").symlink_to(".")
    assert folder_size(tmp_path) == (1234, 2, True)
    assert folder_size(tmp_path, seconds=-1)[2] is False
    du = subprocess.run(
        ["find", str(tmp_path), "-type", "f", "-printf", "%s\\n"], capture_output=True, text=True
    )
    assert sum(map(int, du.stdout.split())) == kept(tmp_path).facts["bytes"]


def test_what_holds_prompts_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "circuits"
    path.mkdir(mode=0o700)
    assert kept(path).state == "ok" and "mode 0700" in kept(path).says
    path.chmod(0o750)
    one = kept(path)
    assert one.state == "warn" and one.todo.endswith(f"chmod go-rwx {path}")
    assert kept(path, private=False).state == "ok"
    path.chmod(0o777)
    assert "others can change it" in kept(path, private=False).todo


def test_one_that_is_not_there_is_tried_where_it_would_be(tmp_path: Path) -> None:
    one = kept(tmp_path / "state" / "circuits")
    assert (one.state, one.facts["exists"], one.facts["writable"]) == ("ok", False, True)
    assert list(tmp_path.iterdir()) == [], "nothing is left of the trial"
    (tmp_path / "file").write_text("")
    one = kept(tmp_path / "file" / "circuits")
    assert (one.state, one.facts["writable"]) == ("warn", False)
    assert f"make {tmp_path / 'file'} writable" in one.todo


@pytest.mark.skipif(sys.platform != "linux", reason="there is a folder that root cannot write to")
def test_one_that_cannot_be_written_is_told_to_root_too() -> None:
    one = kept(Path("/proc/scd-tui"))
    assert (one.state, one.facts["writable"]) == ("warn", False)
    assert "what is kept cannot be kept (" in one.todo


def test_a_configuration_that_others_can_change_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert file("configuration", path).facts["exists"] is False
    path.write_text("")
    path.chmod(0o644)
    assert file("configuration", path).state == "ok"
    path.chmod(0o666)
    one = file("configuration", path)
    assert one.state == "warn" and one.todo == f"others can change it: chmod go-w {path}"
