"""`scd-tui download` against a hub on loopback."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hub_client import pointed
from hub_repos import FAMILIES, repositories, write_toml
from hub_server import Fault, Hub, Repo, commit_of, serve
from huggingface_hub import scan_cache_dir

from scd_tui.catalog.download import download
from scd_tui.catalog.models import find
from scd_tui.cli import main

FAMILY = FAMILIES["gpt2-v5"]
RESID = "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs"
CONFIG = "v5_32k_layer_1.pt/cfg.json"
BIG = "v5_32k_layer_1.pt/sae_weights.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repo]:
    return repositories(FAMILY, tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def hub(files: dict[str, Repo]) -> Iterator[Hub]:
    with serve(Hub(dict(files))) as running:
        yield running


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return write_toml(tmp_path / "family.toml", FAMILY)


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return kept | hub.environment(home, **more)


def command(
    hub: Hub, home: Path, *words: str | Path, own: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; in a process of its `own` where what that reads of its environment matters."""
    if own:
        return subprocess.run(
            [sys.executable, "-m", "scd_tui", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment(hub, home, **more),
        )
    out, err = io.StringIO(), io.StringIO()
    with pointed(hub, home), pytest.MonkeyPatch.context() as patch:
        for name, value in more.items():
            patch.setenv(name, value)
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in words])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failed download says; nothing else may be said."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("scd-tui download: ") and done.stderr.count("\n") == 1, (
        done.stderr
    )
    return done.stderr


def blob(home: Path, etag: str) -> Path:
    (found,) = home.glob(f"hub/*/blobs/{etag}*")
    return found


# --- what a download leaves ---------------------------------------------------------------


def test_everything_comes_is_checked_and_stands_where_other_programs_look(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    done = command(hub, tmp_path, "download", toml, "--json", own=True)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    commits = {repo: commit_of(held.revisions["main"]) for repo, held in hub.repos.items()}
    assert said["commits"] == commits
    assert said["fetched"] == said["total"] > 0
    # the hub is asked for these files, and told no more than that
    assert all("/resolve/" in asked.path for asked in hub.asked)
    assert all("torch" not in asked.headers["user-agent"] for asked in hub.asked)
    # huggingface_hub's own look at its cache
    cache = scan_cache_dir(tmp_path / "hub")
    assert not cache.warnings
    kept = {repo.repo_id: repo for repo in cache.repos}
    assert kept.keys() == commits.keys()
    for repo, commit in commits.items():
        (revision,) = kept[repo].revisions
        assert (revision.commit_hash, set(revision.refs)) == (commit, {"main"})
        for file in revision.files:
            name = str(file.file_path.relative_to(revision.snapshot_path))
            held = hub.repos[repo].revisions["main"][name]
            content = held if isinstance(held, bytes) else held.read_bytes()
            assert file.file_path.read_bytes() == content
    names = {file.file_name for repo in kept.values() for r in repo.revisions for file in r.files}
    assert {"config.json", "tokenizer.json", "model.safetensors", "cfg.json"} <= names
    # what can hold code, and what nobody reads, stays away
    assert not {"pytorch_model.bin", "README.md", "sparsity.safetensors"} & names
    # and nothing else lies there
    assert all(len(path.name) in (40, 64) for path in tmp_path.glob("hub/*/blobs/*"))


def test_a_second_time_nothing_is_fetched(hub: Hub, toml: Path, tmp_path: Path) -> None:
    assert command(hub, tmp_path, "download", toml).returncode == 0
    hub.asked.clear()
    done = command(hub, tmp_path, "download", toml)
    assert done.returncode == 0 and "0 bytes of it fetched now, all checked" in done.stdout
    assert hub.fetched("GET") == []


def test_a_pinned_commit_is_what_comes(
    hub: Hub, files: dict[str, Repo], tmp_path: Path, toml: Path
) -> None:
    old = files[RESID].revisions["main"]
    new = {**old, "v5_32k_layer_0.pt/cfg.json": b"{}"}
    hub.repos[RESID] = Repo({"main": new, "v1": old})
    commit = commit_of(old)
    text = toml.read_text().replace(f'repo = "{RESID}"', f'repo = "{RESID}"\nrevision = "{commit}"')
    toml.write_text(text)
    said = json.loads(command(hub, tmp_path, "download", toml, "--json").stdout)
    assert said["commits"][RESID] == commit
    assert {a.path.split("/")[4] for a in hub.asked if RESID in a.path} == {commit}


def test_weights_in_several_files_come_by_their_index(
    hub: Hub, files: dict[str, Repo], tmp_path: Path, toml: Path
) -> None:
    whole = dict(files["gpt2"].revisions["main"])
    del whole["model.safetensors"]
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
    whole |= {
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": b"one",
        "model-00002-of-00002.safetensors": b"two",
    }
    hub.repos["gpt2"] = Repo({"main": whole})
    assert command(hub, tmp_path, "download", toml).returncode == 0
    assert {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} <= set(
        hub.fetched()
    )
    index["weight_map"]["b"] = "../../x.safetensors"
    hub.repos["gpt2"] = Repo(
        {"main": whole | {"model.safetensors.index.json": json.dumps(index).encode()}}
    )
    done = command(hub, tmp_path, "download", toml)
    assert done.returncode == 2 and "names '../../x.safetensors', which is no file" in done.stderr
    for wrong in (b"{", b"[]", b'{"weight_map": 3}'):
        hub.repos["gpt2"] = Repo({"main": whole | {"model.safetensors.index.json": wrong}})
        done = command(hub, tmp_path, "download", toml)
        assert done.returncode == 2 and "does not say which files its weights are in" in done.stderr


def test_a_model_without_safetensors_is_refused(
    hub: Hub, files: dict[str, Repo], tmp_path: Path, toml: Path
) -> None:
    whole = dict(files["gpt2"].revisions["main"])
    del whole["model.safetensors"]
    hub.repos["gpt2"] = Repo({"main": whole})
    assert "no weights as safetensors" in refused(command(hub, tmp_path, "download", toml))


# --- interrupted, and going on ------------------------------------------------------------


def large(files: dict[str, Repo], size: int) -> Repo:
    """The residual dictionaries with one file that does not come in one piece."""
    held = files[RESID].revisions["main"]
    return Repo({"main": {**held, BIG: os.urandom(size)}})


def test_a_download_that_was_killed_goes_on_where_it_stopped(
    hub: Hub, files: dict[str, Repo], tmp_path: Path, toml: Path
) -> None:
    hub.repos[RESID] = large(files, 40 << 20)
    hub.faults.append(Fault("slow", BIG, seconds=0.005))
    running = subprocess.Popen(
        [sys.executable, "-m", "scd_tui", "download", str(toml)],
        env=environment(hub, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    partial: list[Path] = []
    for _ in range(600):
        kept = tmp_path.glob("hub/*/blobs/*.incomplete")
        partial = [path for path in kept if path.exists() and path.stat().st_size > 1 << 20]
        if partial:
            break
        time.sleep(0.05)
    running.kill()
    running.wait()
    arrived = partial[0].stat().st_size
    assert 0 < arrived < 40 << 20
    hub.faults.clear()
    hub.asked.clear()
    assert command(hub, tmp_path, "download", toml).returncode == 0
    (again,) = [a for a in hub.asked if a.method == "GET" and a.path.endswith(BIG)]
    assert again.headers["range"] == f"bytes={arrived}-"


class Enough(Exception):
    """Somebody pressed escape."""


def test_what_progress_raises_ends_it_and_the_next_goes_on(
    hub: Hub, files: dict[str, Repo], tmp_path: Path, toml: Path
) -> None:
    hub.repos[RESID] = large(files, 24 << 20)
    stages: list[str] = []

    def until(stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        stages.append(stage)
        if stage == f"fetching {BIG}" and done > 0:
            raise Enough

    with pointed(hub, tmp_path):
        with pytest.raises(Enough):
            download(find(str(toml)), until)
        (partial,) = tmp_path.glob("hub/*/blobs/*.incomplete")
        arrived = partial.stat().st_size
        assert 0 < arrived < 24 << 20
        assert stages[0] == "looking" and any(stage.startswith("checking") for stage in stages)
        found = download(find(str(toml)))
    assert found.fetched < found.total - arrived


def test_a_line_that_breaks_is_taken_up_again(hub: Hub, toml: Path, tmp_path: Path) -> None:
    hub.faults.append(Fault("cut", BIG, times=2, after=1000))
    assert command(hub, tmp_path, "download", toml).returncode == 0


def test_a_line_that_stays_broken_is_told_in_one_sentence(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    hub.faults.append(Fault("cut", BIG, after=0))
    said = refused(command(hub, tmp_path, "download", toml))
    assert "cannot be reached" in said and "what has arrived is kept" in said


# --- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["corrupt", "size"])
def test_what_arrives_damaged_is_fetched_again(
    hub: Hub, toml: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "corrupt":
        hub.faults.append(Fault("corrupt", BIG, times=1))
    else:
        # once wrong in the look at it: the transfer then ends with too few bytes
        hub.faults.append(Fault("size", BIG, times=1))
    done = command(hub, tmp_path, "download", toml)
    if kind == "corrupt":
        assert done.returncode == 0, done.stderr
        assert hub.fetched().count(BIG.split("/", 1)[1]) == 0
        assert sum(a.method == "GET" and a.path.endswith(BIG) for a in hub.asked) == 2
    else:
        assert "did not arrive with the size that the Hub gives" in refused(done)
        assert command(hub, tmp_path, "download", toml).returncode == 0


def test_what_arrives_damaged_twice_is_told_and_not_kept(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    hub.faults.append(Fault("corrupt", BIG))
    said = refused(command(hub, tmp_path, "download", toml))
    assert f"{BIG} of {RESID} has not the hash that the Hub gives for it, twice" in said
    assert not list(tmp_path.glob(f"hub/*/snapshots/*/{BIG}"))


def test_what_was_damaged_on_the_disk_is_found_and_fetched_again(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    assert command(hub, tmp_path, "download", toml).returncode == 0
    (path,) = tmp_path.glob(f"hub/*/snapshots/*/{BIG}")
    right = path.read_bytes()
    for wrong in (right[:-1] + b"?", right[:100]):
        path.resolve().write_bytes(wrong)
        assert command(hub, tmp_path, "download", toml).returncode == 0
        assert path.read_bytes() == right


def test_a_file_whose_size_the_hub_does_not_tell_comes_too(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    """As the real one does with small texts, which it compresses on the way."""
    hub.faults.append(Fault("silent", "cfg.json"))
    assert command(hub, tmp_path, "download", toml).returncode == 0
    hub.faults.append(Fault("corrupt", "cfg.json", times=1))
    hub.repos[RESID] = Repo({"main": {**hub.repos[RESID].revisions["main"], CONFIG: b"{ }"}})
    assert command(hub, tmp_path, "download", toml).returncode == 0
    (path,) = (p for p in tmp_path.glob(f"hub/*/snapshots/*/{CONFIG}") if p.stat().st_size == 3)
    assert path.read_bytes() == b"{ }"


@pytest.mark.parametrize("etag", ["../../../planted", "a/b", ""])
def test_a_hash_that_would_lead_out_of_the_cache_is_refused(
    hub: Hub, toml: Path, tmp_path: Path, etag: str
) -> None:
    hub.faults.append(Fault("etag", "cfg.json", code=etag))
    assert "is no hub: check HF_ENDPOINT" in refused(command(hub, tmp_path, "download", toml))
    assert not list(tmp_path.rglob("planted*"))


# --- what the Hub refuses -----------------------------------------------------------------


def test_a_gated_repository_opens_to_its_token_alone(hub: Hub, toml: Path, tmp_path: Path) -> None:
    hub.gated[RESID] = "hf_right"
    said = refused(command(hub, tmp_path, "download", toml))
    assert f"{RESID} is open only to accounts that asked" in said and "set HF_TOKEN" in said
    said = refused(command(hub, tmp_path, "download", toml, HF_TOKEN="hf_wrong"))
    assert "the account of the token that was sent has no access" in said
    assert "hf_wrong" not in said
    assert command(hub, tmp_path, "download", toml, HF_TOKEN="hf_right").returncode == 0


def test_a_token_goes_to_no_other_host(files: dict[str, Repo], toml: Path, tmp_path: Path) -> None:
    with serve(Hub(dict(files))) as storage, serve(Hub(dict(files), storage)) as hub:
        done = command(hub, tmp_path, "download", toml, own=True, HF_TOKEN="hf_secret")
        assert done.returncode == 0, done.stderr
        assert any(a.path.endswith(".safetensors") for a in storage.asked)
        assert all("authorization" not in a.headers for a in storage.asked)
        assert "hf_secret" not in repr(storage.asked)
        assert all(a.headers["authorization"] == "Bearer hf_secret" for a in hub.asked)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("status", "cfg.json", status=401), "does not let jbloom/"),
        (Fault("status", "cfg.json", status=403), "does not let jbloom/"),
        (
            Fault("status", "cfg.json", status=404, code="EntryNotFound"),
            "has no file v5_32k_layer_",
        ),
        (Fault("status", "cfg.json", status=500), "answered with error 500 when asked for"),
        (
            Fault("status", "gpt2/", status=404, code="RepoNotFound"),
            "there is no repository gpt2 on",
        ),
        (
            Fault("status", "gpt2/", status=404, code="RevisionNotFound"),
            "gpt2 has no revision 'main'",
        ),
    ],
)
def test_each_refusal_has_its_sentence(
    hub: Hub, toml: Path, tmp_path: Path, fault: Fault, said: str
) -> None:
    hub.faults.append(fault)
    assert said in refused(command(hub, tmp_path, "download", toml))


def test_an_answer_that_may_be_another_the_next_time_is_asked_for_again(
    hub: Hub, toml: Path, tmp_path: Path
) -> None:
    hub.faults.append(Fault("status", "cfg.json", status=503, times=1))
    assert command(hub, tmp_path, "download", toml).returncode == 0


def test_a_wrong_revision_is_told(hub: Hub, toml: Path, tmp_path: Path) -> None:
    toml.write_text(toml.read_text().replace('repo = "gpt2"', 'repo = "gpt2"\nrevision = "v9"'))
    assert "gpt2 has no revision 'v9'" in refused(command(hub, tmp_path, "download", toml))


@pytest.mark.parametrize("revision", ["../../planted", "/etc", "a..b", "-x", ""])
def test_a_revision_that_would_lead_out_of_the_cache_is_refused(
    hub: Hub, toml: Path, tmp_path: Path, revision: str
) -> None:
    text = toml.read_text().replace('repo = "gpt2"', f'repo = "gpt2"\nrevision = "{revision}"')
    toml.write_text(text)
    done = command(hub, tmp_path, "download", toml)
    assert (done.returncode, hub.asked) == (2, []) and "is no model" in done.stderr


def test_no_network_is_told(toml: Path, tmp_path: Path) -> None:
    with serve(Hub({})) as hub:
        pass  # its port is closed now
    said = refused(command(hub, tmp_path, "download", toml, own=True))
    assert f"{hub.url} cannot be reached ([Errno " in said
    assert "): check the connection and HF_ENDPOINT and try again" in said


def test_offline_means_that_nothing_is_asked(hub: Hub, toml: Path, tmp_path: Path) -> None:
    said = refused(command(hub, tmp_path, "download", toml, own=True, HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE is set" in said
    assert hub.asked == []


# --- the disk -----------------------------------------------------------------------------

_SMALL_DISK = """
import shutil, sys
from collections import namedtuple
usage = namedtuple("usage", "total used free")
shutil.disk_usage = lambda path: usage(10**9, 10**9, 10**6)
from scd_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""
_FULL_DISK = """
import errno, sys
from scd_tui.catalog import download
def write(self, data): raise OSError(errno.ENOSPC, "No space left on device")
download._Counted.write = write
from scd_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("code", "said", "asked"),
    [
        (_SMALL_DISK, "are to be downloaded to", False),
        (_FULL_DISK, "is full: make room and try again, what has arrived is kept", True),
    ],
)
def test_a_disk_without_room_is_told(
    hub: Hub, toml: Path, tmp_path: Path, code: str, said: str, asked: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, "download", str(toml)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(hub, tmp_path),
    )
    assert said in refused(done)
    assert bool(hub.fetched()) == asked


def test_a_folder_that_cannot_be_written_is_told(hub: Hub, toml: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    assert "cannot be written" in refused(command(hub, home, "download", toml))
    assert shutil.disk_usage(tmp_path).free


def test_there_is_nothing_to_download_of_what_lies_here(hub: Hub, tmp_path: Path) -> None:
    done = command(hub, tmp_path, "download", "demo")
    assert done.returncode == 2 and "there is nothing to download" in done.stderr
    done = command(hub, tmp_path, "download", "dmo")
    assert done.returncode == 2 and "there is no model 'dmo': use demo" in done.stderr
