import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from tui.driving import run, settle
from tui.samples import PROMPT, SITES, FakeWorker, Records, circuit, site_nodes, summary
from tui.screen import dump, make_app
from tui.scripted import answer

from scd_tui.catalog.prompts import Prompt, PromptSet
from scd_tui.config import Config, Defaults
from scd_tui.graph import decode_circuit
from scd_tui.tui.app import ScdApp
from scd_tui.tui.bindings import all_keys
from scd_tui.tui.completions import CompletionList
from scd_tui.tui.hints import shown
from scd_tui.tui.ink import plain
from scd_tui.tui.modals import PromptList
from scd_tui.tui.text_pane import TextPane
from scd_tui.tui.tree import CircuitTree
from scd_tui.worker import protocol as p


def test_the_first_frame_is_there_before_the_worker_is_started() -> None:
    workers: list[FakeWorker] = []
    seen: list[int] = []

    async def main() -> None:
        app = make_app(None, workers=workers)
        original = app._start_worker

        def started() -> None:
            seen.append(len(app.screen._compositor.visible_widgets))
            original()

        app._start_worker = started  # type: ignore[method-assign]
        async with app.run_test() as pilot:
            await settle(pilot)
            assert len(workers) == 1
            assert app.focused is app.main.prompt_line

    asyncio.run(main())
    assert seen and seen[0] > 3


def test_a_prompt_is_typed_completed_attributed_and_walked() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press(*"To be q? ", "enter")
        await settle(pilot)
        text = dump(app)
        assert "question" in text and "61.2%" in text
        assert 'Circuit for " question" − " way"' in text
        assert "▾ resid_post 3" in text
        assert "trust 0.81, signs 96%" in text and "gate ✓ 12/12" in text
        await pilot.press("j", "j", "enter")
        await settle(pilot)
        text = dump(app)
        assert "→" in text
        assert text.index("├▾ resid_post 2") < text.index("├▾ attn_out 3"), "by the strongest edge"
        node = app.main.circuit_tree.current
        assert node is not None and node.node is not None
        assert node.node in text, "the feature pane is titled by the node's one name"
        assert "what follows them”" in text and "automatic · scd_auto" in text
        assert "top activations" in text and "«gave»" in text
        await pilot.press("x")
        await settle(pilot)
        text = dump(app)
        assert "▲ promotes  question +0.70" in text
        assert "▼ holds back  way −0.40" in text
        assert "+1.210 exact" in text

    run(test, prompt=None)


def test_one_pane_at_a_time_is_usable_at_80_by_24() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        text = dump(app)
        assert "Circuit for" in text and "Completions" not in text
        await pilot.press("j", "j")
        await settle(pilot)
        assert "words about" in dump(app).splitlines()[-4]
        await pilot.press("tab")
        await settle(pilot)
        text = dump(app)
        assert "top activations" in text and "Circuit for" not in text
        await pilot.press("1")
        await settle(pilot)
        assert "nature" in dump(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "Circuit for" in dump(app)
        assert all(len(line) == 80 for line in dump(app).splitlines())

    run(test, (80, 24))


def test_letters_typed_into_the_prompt_are_text() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("i", "end", *"qxs?:mR/")
        assert app.main.prompt_line.value == PROMPT + "qxs?:mR/"
        assert app.is_running and len(app.screen_stack) == 1

    run(test)


def test_another_completion_a_contrast_and_a_metric() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("1", "j", "enter")
        await settle(pilot)
        assert 'Circuit for " way"' in dump(app)
        await pilot.press("j", "c")
        await settle(pilot)
        text = dump(app)
        assert 'Circuit for " way" − " only"' in text
        assert "● way" in text and "○ only" in text
        await pilot.press("k", "c")
        assert "that is the target" in dump(app)
        await pilot.press("M")
        await settle(pilot)
        assert 'Circuit for log p " way"' in dump(app)
        requests = workers[0].of(p.Attribute)
        assert [(r.target, r.contrast, r.metric) for r in requests] == [  # type: ignore[attr-defined]
            (100, None, "diff"),
            (101, None, "diff"),
            (101, 102, "diff"),
            (101, None, "logp"),
        ]

    run(test, workers=workers)


def test_a_target_is_typed_and_one_that_is_no_token_costs_nothing() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("t")
        assert "Explain which token, and how?" in dump(app)
        await pilot.press("home", "ctrl+k", *" nature", "enter")
        await settle(pilot)
        assert 'Circuit for " nature"' in dump(app)
        await pilot.press("t", "home", "ctrl+k", *" a b", "enter")
        await settle(pilot)
        text = dump(app)
        assert "is 2 tokens" in text
        assert 'Circuit for " nature"' in text
        await pilot.press("t", "escape")
        assert len(app.screen_stack) == 1

    run(test)


def test_the_filter_opens_counts_and_closes() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = len(app.main.circuit_tree.rows)
        await pilot.press("slash", *"error")
        await settle(pilot)
        text = dump(app)
        assert "12 match" in text and "rows hidden" in text
        assert app.main.circuit_tree.rows.matches == 12
        assert f"/{len(app.main.circuit_tree.rows)} ─╮" in text
        assert "▾ resid_post 0" in text, "what the filter shows is shown as unfolded"
        await pilot.press("enter", "down")
        assert app.focused is app.main.circuit_tree
        await pilot.press("escape")
        await settle(pilot)
        assert "match" not in dump(app)
        assert len(app.main.circuit_tree.rows) == rows

    run(test)


def test_help_lists_the_bindings_in_force() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        app.set_keymap({"node.ablate": "z"})
        await pilot.press("2", "question_mark")
        await settle(pilot)
        assert "show every key" in dump(app)
        pane = app.screen.query_one(TextPane)
        told = [line for line in map(plain, pane.lines) if line[:9].strip()]
        for section, keys in all_keys():
            assert section in told
            for one in keys:
                start = shown(one, {"node.ablate": "z"})
                assert any(t.startswith(start) and one.description[:20] in t for t in told), one
        await pilot.press("G")
        await settle(pilot)
        assert "gradient fades" in dump(app)
        await pilot.press("question_mark")
        assert len(app.screen_stack) == 1

    run(test)


def test_every_binding_has_an_id_of_its_own() -> None:
    app = make_app()
    for owner in (app, app.main, CircuitTree, CompletionList, PromptList):
        ids = [binding.id for binding in owner.BINDINGS]  # type: ignore[union-attr]
        assert all(ids) and len(set(ids)) == len(ids)


def test_a_dead_worker_is_explained_and_restarted_with_one_key() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "enter")
        before = len(app.main.circuit_tree.rows)
        workers[0].answer = None
        app.main.circuit_tree.rows.unfold_all()
        node = site_nodes(SITES[0])[0].id
        app.session.ask_upstream(node)
        workers[0].die(tail=("Traceback", "RuntimeError: [red]out[/] of \\x1b luck"))
        await settle(pilot)
        text = dump(app)
        assert "killed by SIGKILL" in text and "[red]out[/]" in text
        assert 'Circuit for " question"' in text
        await pilot.press("R")
        await settle(pilot)
        assert len(workers) == 2 and workers[0].closed
        text = dump(app)
        assert "killed by" not in text and 'Circuit for " question"' in text
        assert len(app.main.circuit_tree.rows) >= before
        app.session.ask_upstream(node)
        await settle(pilot)
        assert app.session.store.upstream_state(node) == "known"

    run(test, workers=workers)


def test_partial_results_are_on_the_screen_and_esc_cancels() -> None:
    workers: list[FakeWorker] = []

    def slow(worker: FakeWorker, request: p.Request) -> None:
        if isinstance(request, p.Attribute):
            n = request.request
            site = SITES[-1]
            worker.emit(p.SiteDone(request=n, summary=summary(site), nodes=site_nodes(site)))
            worker.emit(p.Progress(request=n, stage="edges", done=1, total=12))
        else:
            answer(worker, request)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        text = dump(app)
        assert "edges 1/12 █░░░" in text
        assert "in the making" in text and "▾ resid_post 3" in text
        await pilot.press("escape")
        await settle(pilot)
        assert "cancelled" in dump(app)
        assert workers[0].of(p.Cancel)

    run(test, workers=workers, answering=slow)


def test_a_saved_circuit_opens_without_a_worker_and_starts_one_on_request() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        assert not workers
        text = dump(app)
        assert "from a file" in text and "label from the file" in text
        await pilot.press("E", "G", "g")
        tree = app.main.circuit_tree
        node = site_nodes(SITES[0])[0].id
        index = next(i for i, item in enumerate(tree.rows.visible) if item.node == node)
        tree.go(index)
        await pilot.press("enter")
        await settle(pilot)
        assert "not in this file" in dump(app)
        await pilot.press("R")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert len(workers) == 1
        assert "not in this file" not in dump(app)
        assert app.session.store.upstream_state(node) == "known"

    made = circuit()
    key = f"3-resid_post-demo/{str(site_nodes(SITES[-1])[0].id).split('/')[1].split('@')[0]}"
    import msgspec

    made = msgspec.structs.replace(made, explanations={key: "label from the file"})
    run(test, prompt=None, workers=workers, circuit=made)


def test_a_circuit_is_saved_for_its_owner_and_opens_again(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "enter", "s")
        await settle(pilot)
        assert "saved to" in dump(app)
        await pilot.press("v")
        await pilot.press("s")
        await settle(pilot)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 2
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        opened = decode_circuit(files[0].read_bytes())
        assert opened.trust is not None and opened.explanations
        assert json.loads(files[0].read_text())["schema_version"] == 1

    run(test, save_to=tmp_path)


def test_records_are_asked_for_once_the_cursor_rests() -> None:
    records = Records()

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        records.asked.clear()
        for _ in range(6):
            app.main.circuit_tree.action_move(1)
        await settle(pilot)
        assert len(records.asked) == 1
        for step in (-1, 1):
            app.main.circuit_tree.action_move(step)
            await settle(pilot)
        assert len(records.asked) == 2, "a record that is here is not asked for again"

    run(test, records=records)


def test_labels_arrive_without_moving_the_cursor() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        app.main.circuit_tree.action_move(4)
        before = app.main.circuit_tree.rows.cursor
        await settle(pilot)
        assert app.main.circuit_tree.rows.cursor == before
        assert dump(app).count("words about") >= 8

    run(test)


def test_without_colours_no_colour_codes_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await settle(pilot)
        styles = [
            segment.style
            for strip in app.screen._compositor.render_strips()
            for segment in app_filtered(app, strip)
            if segment.style is not None
        ]
        assert not any(_coloured(style) for style in styles)
        assert any(style.reverse for style in styles), "the cursor is still seen"

    run(test, colour=False)


def app_filtered(app: ScdApp, strip: Any) -> Any:
    from textual.color import Color

    for line_filter in app._filters:
        if line_filter.enabled:
            strip = strip.apply_filter(line_filter, Color(0, 0, 0))
    return strip


def _coloured(style: Any) -> bool:
    return any(color is not None and not color.is_default for color in (style.color, style.bgcolor))


def test_a_crash_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        app = make_app()
        async with app.run_test() as pilot:
            await settle(pilot)

            def crash(secret: str) -> None:
                raise RuntimeError("boom")

            app.call_later(crash, " ".join(("a", "secret", "prompt")))
            await pilot.pause(0.2)

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(main())
    assert "secret prompt" not in capsys.readouterr().err


def test_the_palette_has_the_keys_and_takes_a_screenshot(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Screenshot" in titles
        for _, keys in all_keys():
            for one in keys:
                if one.id not in ("app.quit", "app.palette"):
                    assert any(one.description[1:] in title for title in titles), one
        await pilot.press("colon")
        await settle(pilot)
        assert "Search for commands" in dump(app)
        await pilot.press("escape")
        for name in ("scd-tui.svg", "scd-tui-2.svg"):
            await pilot.press("colon", *"screenshot")
            await settle(pilot)
            await pilot.press("enter")
            for _ in range(50):
                if (tmp_path / name).exists():
                    break
                await pilot.pause(0.05)
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
            svg = (tmp_path / name).read_text("utf-8")
            assert svg.startswith("<svg") and "resid_post" in svg

    run(test, save_to=tmp_path)


def test_the_palette_runs_an_action_of_another_pane() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = len(app.main.circuit_tree.rows)
        await pilot.press("1", "colon")
        await settle(pilot)
        await pilot.press(*"unfold every site")
        await settle(pilot)
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert len(app.main.circuit_tree.rows) > rows

    run(test)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_a_filter_that_finds_nothing_says_so_and_not_that_there_is_no_circuit(
    size: tuple[int, int],
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("2", "slash", *"zzqq")
        await settle(pilot)
        text = dump(app)
        assert 'no row has "zzqq": esc shows all' in text and "Type a prompt" not in text
        assert "0 match" in text and "rows hidden" in text
        await pilot.press("escape", "3")
        await settle(pilot)
        assert "zzqq" not in dump(app)
        await pilot.press("2", "slash", *"zzqq", "enter", "3")
        await settle(pilot)
        assert 'no row has "zzqq": esc shows all' in dump(app), "also where features are read"

    run(test, size)


def test_the_bottom_line_names_the_keys_that_apply_now() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        async def bottom(*keys: str) -> str:
            await pilot.press(*keys)
            await settle(pilot)
            return dump(app).splitlines()[-1]

        assert "x ablate" not in await bottom("g", "j"), "a site is not ablated"
        line = await bottom("j")
        assert "x ablate" in line and "enter unfold" in line and "/ filter" in line
        assert "enter explain" in await bottom("1")
        assert "enter ask" in await bottom("i")
        assert "esc end" in await bottom("escape", "slash", *"error")
        assert "esc end the filter" in await bottom("enter")
        app.set_keymap({"node.ablate": "ctrl+x"})
        assert "^x ablate" in await bottom("escape", "j", "j")
        workers[0].answer = None
        app.session.complete("another")
        assert "esc cancel" in await bottom("1", "2")
        workers[0].die()
        line = await bottom("1", "2")
        assert "unfinished: R starts it again" in line
        assert "esc cancel" not in line, "nothing runs"

    run(test, workers=workers)


def test_a_prompt_is_picked_from_the_sets_with_its_target_and_contrast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = tuple(
        Prompt(
            text=f"{text} [b]prompt[/] {number}",
            target=" way",
            contrast=" only",
            contrast_prompt="another prompt",
            note="what is known of it",
        )
        for number, text in enumerate(("first", "second", "third"))
    )
    sets = (
        PromptSet(name="agreement", description="verbs", prompts=prompts),
        PromptSet(name="brackets", description="brackets", prompts=prompts[:1]),
    )
    monkeypatch.setattr("scd_tui.catalog.prompts.load_prompt_sets", lambda: sets)
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("p", "j")
        await settle(pilot)
        text = dump(app)
        assert "agreement 3 prompts" in text and "second [b]prompt[/] 1" in text
        assert "what is known of it" in text and "contrast another prompt" in text
        await pilot.press("tab", "shift+tab", "j", "enter")
        await settle(pilot)
        assert app.main.prompt_line.value == "second [b]prompt[/] 1"
        request = workers[0].of(p.Attribute)[-1]
        assert (request.target, request.contrast) == (" way", " only")  # type: ignore[attr-defined]
        assert request.contrast_prompt is None  # type: ignore[attr-defined]
        assert 'Circuit for " way" − " only"' in dump(app)
        await pilot.press("p", "c")
        await settle(pilot)
        request = workers[0].of(p.Attribute)[-1]
        assert request.contrast_prompt == "another prompt"  # type: ignore[attr-defined]
        await pilot.press("p", "escape")
        assert len(app.screen_stack) == 1

    run(test, workers=workers)


@pytest.mark.parametrize("size", [(60, 20), (20, 5), (100, 24)])
def test_every_size_is_drawn_without_overflow(size: tuple[int, int]) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        for keys in (("j", "j", "enter"), ("1",), ("3",), ("question_mark",)):
            await pilot.press(*keys)
            await pilot.pause(0.1)
            lines = dump(app).splitlines()
            assert len(lines) == size[1]
            assert all(cell_len(line) == size[0] for line in lines)

    run(test, size)


def test_a_terminal_is_resized_while_it_is_used() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "3")
        for size in ((80, 24), (120, 30), (30, 8), (140, 40)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert all(cell_len(line) == size[0] for line in dump(app).splitlines())
        text = dump(app)
        assert "Completions" in text and "Circuit for" in text and "top activations" in text

    run(test)


def test_a_prompt_typed_before_the_worker_is_started_is_not_lost() -> None:
    workers: list[FakeWorker] = []

    async def main() -> None:
        app = make_app(None, workers=workers)
        async with app.run_test(size=(80, 24)) as pilot:
            for key in (*"ab", "enter"):
                app.simulate_key(key)
            await settle(pilot)
            assert app.main.prompt_line.value == "ab"
            assert app.focused is app.main.circuit_tree
            assert workers[0].of(p.Complete)

    asyncio.run(main())


def test_the_configuration_sets_keys_theme_and_what_is_asked_for() -> None:
    workers: list[FakeWorker] = []
    config = Config(
        theme="scd-light",
        keys={"node.ablate": "Z"},
        defaults=Defaults(metric="logp", top=3, completions=4),
    )

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        assert app.theme == "scd-light"
        assert workers[0].of(p.Complete)[-1].count == 4  # type: ignore[attr-defined]
        request = workers[0].of(p.Attribute)[-1]
        assert (request.metric, request.settings.top) == ("logp", 3)  # type: ignore[attr-defined]
        await pilot.press("j", "j", "x")
        assert not workers[0].of(p.Ablate)
        await pilot.press("Z")
        assert workers[0].of(p.Ablate)

    run(test, workers=workers, config=config)


def test_a_configuration_that_cannot_be_used_is_told_and_the_app_starts() -> None:
    config = Config(theme="no [such]", keys={"node.ablate": "q"})

    async def main() -> None:
        app = make_app(config=config, problem="config.toml cannot be used [/INST]")
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            await settle(pilot)
            assert "config.toml cannot be used [/INST]" in dump(app)
            told = [notice.message for notice in app._notifications]
            assert "no theme 'no [such]'" in told[1] and "both app.quit and node.ablate" in told[2]
            assert app.theme == "scd"
            await pilot.press("j", "j", "x")
            await settle(pilot)
            assert "▲ promotes" in dump(app)

    asyncio.run(main())


@pytest.mark.parametrize("size", [(80, 24), (120, 35)])
def test_without_unicode_every_screen_is_ascii(size: tuple[int, int]) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        for keys in (("j", "j", "enter"), ("3",), ("1",), ("question_mark",), ("escape", "colon")):
            await pilot.press(*keys)
            await settle(pilot)
            text = dump(app)
            assert text.isascii(), [c for c in text if not c.isascii()]
            assert all(len(line) == size[0] for line in text.splitlines())

    run(test, size, unicode=False)


def test_the_feature_is_copied_as_text_and_a_link_leads_somewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TMUX", raising=False)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await settle(pilot)
        await pilot.press("Y")
        await settle(pilot)
        assert "words about" in app.clipboard and "\n" in app.clipboard
        assert "lines to the terminal (OSC 52)" in dump(app)
        before = app.clipboard
        app.main.feature.show([(("x" * 80_000, "text"),)])
        await pilot.press("Y")
        await settle(pilot)
        assert "not copied: 80 KB, and 74 KB is the most" in dump(app)
        assert app.clipboard == before
        app.main.feature.show([(("https://www.neuronpedia.org/a/b/1", "dim"),)])
        await pilot.pause()
        segments = [s for strip in app.screen._compositor.render_strips() for s in strip]
        linked = [s for s in segments if s.style is not None and s.style.link]
        assert [(s.text, s.style.link) for s in linked] == [  # type: ignore[union-attr]
            ("https://www.neuronpedia.org/a/b/1", "https://www.neuronpedia.org/a/b/1")
        ]

    run(test)


def test_ctrl_c_says_how_this_app_is_left() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert app.session.message == "q leaves the app" and not app._notifications

    run(test)
