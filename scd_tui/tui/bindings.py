"""Every key of the app, in one place. Each has an id, so that a keymap can change it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from textual.binding import Binding, BindingType


def key(
    name: str, keys: str, action: str, description: str, shown: str = "", priority: bool = False
) -> Binding:
    """A binding; `shown` is how help writes its keys, where that is shorter than the keys."""
    return Binding(
        keys, action, description, id=name, key_display=shown or None, show=False, priority=priority
    )


def app_keys() -> list[BindingType]:
    """Keys that work everywhere, except that letters typed into a text line are text."""
    return [
        key("app.help", "question_mark,f1", "help", "show every key", "?"),
        key("app.quit", "q", "quit", "quit", "q"),
        key("app.palette", "colon,ctrl+p", "command_palette", "command palette", ": ^p"),
        key("ask.prompts", "p", "prompts", "choose from the prompt sets", "p"),
        key("ask.target", "t,comma", "target", "what to explain and how: all settings", "t ,"),
        key(
            "ask.contrast",
            "T",
            "prompt_contrast",
            "contrast: the likeliest token that the prompt has too",
            "T",
        ),
        key("ask.metric", "M", "metric", "next metric: diff, logp, logit", "M"),
        key("app.models", "m", "models", "choose a model: load or download it", "m"),
        key("node.ablate", "x", "ablate", "ablate the node: its exact effect", "x"),
        key("node.copy", "y", "copy", "copy the node's name", "y"),
        key("feature.copy", "Y", "copy_feature", "copy what the feature pane says", "Y"),
        key("node.explanation", "w", "next_explanation", "next explanation of the feature", "w"),
        key("circuit.link", "Q", "quick_list", "a link to the pinned features", "Q"),
        key("neuronpedia.again", "r", "ask_again", "ask Neuronpedia again now", "r"),
        key("circuit.save", "s", "save", "save the circuit to a file", "s"),
        key("circuit.open", "O", "open_file", "open a circuit from a file", "O"),
        key("circuit.past", "o,ctrl+o", "past", "go back to a past circuit", "o ^o"),
        key("circuit.compare", "D", "compare", "compare with another circuit", "D"),
        key("worker.restart", "R,ctrl+r", "restart", "restart the worker, and what it did", "R ^r"),
        key(
            "go.back",
            "H,backspace",
            "go_back",
            "back to where you were, or to what was asked",
            "H ⌫",
        ),
        key("go.forward", "L", "go_forward", "forward again", "L"),
        key("app.redraw", "ctrl+l", "redraw", "draw the screen again", "^l", priority=True),
        key(
            "app.suspend",
            "ctrl+z",
            "suspend_process",
            "to the shell; fg comes back",
            "^z",
            priority=True,
        ),
    ]


def screen_keys() -> list[BindingType]:
    """Keys that lead from one pane of the main screen to another."""
    return [
        key("app.back", "escape", "step_back", "end the filter, cancel what runs, go back", "esc"),
        key("app.next", "tab", "next_pane(1)", "next pane", "tab"),
        key("app.previous", "shift+tab", "next_pane(-1)", "previous pane", "⇧tab"),
        key("pane.prompt", "i", "focus_prompt", "edit the prompt", "i"),
        key("pane.completions", "1", "pane('completions')", "go to the completions", "1"),
        key("pane.circuit", "2", "pane('circuit')", "go to the circuit", "2"),
        key("pane.feature", "3", "pane('feature')", "go to the feature", "3"),
    ]


def close_keys() -> list[BindingType]:
    """Keys that close what has opened over the main screen."""
    return [key("modal.close", "escape,q", "close", "close", "esc")]


def list_keys() -> list[BindingType]:
    """Motions that all three panes share."""
    return [
        key("move.up", "up,k", "move(-1)", "up", "↑ k"),
        key("move.down", "down,j", "move(1)", "down", "↓ j"),
        key("move.page_up", "pageup,ctrl+b", "page(-1)", "a page up", "pgup"),
        key("move.page_down", "pagedown,ctrl+f", "page(1)", "a page down", "pgdn"),
        key("move.half_up", "ctrl+u", "half(-1)", "half a page up", "^u"),
        key("move.half_down", "ctrl+d", "half(1)", "half a page down", "^d"),
        key("move.top", "g,home", "top", "first line", "g"),
        key("move.bottom", "G,end", "bottom", "last line", "G"),
    ]


def tree_keys() -> list[BindingType]:
    """Keys of the circuit tree."""
    # fmt: off
    return [
        *list_keys(),
        key("tree.open", "enter", "open",
            "unfold (edges by size, those below 1% in one row), or compute the edges again", "enter"),
        key("tree.fold", "space", "toggle_fold", "fold or unfold", "space"),
        key("tree.in", "right,l", "unfold", "unfold, then to the first row below", "→ l"),
        key("tree.out", "left,h", "fold", "fold, then to the row above in the tree", "← h"),
        key("tree.next", "J", "sibling(1)", "next row of the same parent", "J"),
        key("tree.previous", "K", "sibling(-1)", "previous row of the same parent", "K"),
        key("tree.later", "right_square_bracket", "position(1)", "to the next token position", "]"),
        key("tree.earlier", "left_square_bracket", "position(-1)", "to the previous position", "["),
        key("tree.target", "u", "target", "to the node that this one leads into", "u"),
        key("tree.strongest", "d", "strongest", "to the strongest edge into this node", "d"),
        key("tree.same_later", "right_curly_bracket", "neighbour('later')",
            "the same feature at the next token", "}"),
        key("tree.same_earlier", "left_curly_bracket", "neighbour('earlier')",
            "the same feature at an earlier token", "{"),
        key("tree.thread_down", "right_parenthesis", "neighbour('above')",
            "the likest direction that this feeds", ")"),
        key("tree.thread_up", "left_parenthesis", "neighbour('below')",
            "the likest direction that feeds this", "("),
        key("tree.first", "f", "first_place", "to the first place of this node", "f"),
        key("tree.by", "v", "by", "group by site, by token, or not at all", "v"),
        key("tree.order", "S", "order", "sort by |effect|, effect, |exact|, token or name", "S"),
        key("tree.stronger", "minus", "level(1)", "hide weaker nodes", "-"),
        key("tree.weaker", "plus,equals_sign", "level(-1)", "show weaker nodes", "+"),
        key("tree.errors", "e", "errors", "hide or show error nodes", "e"),
        key("tree.prune", "P", "app.prune", "show only what carries the influence", "P"),
        key("tree.pin", "a", "app.pin", "pin the node, or take the pin off", "a"),
        key("tree.note", "n", "app.note", "write a note on the node", "n"),
        key("tree.unite", "U", "app.unite", "make a supernode of what is pinned", "U"),
        key("tree.cut", "c", "app.cut", "cut this edge: what it does", "c"),
        key("tree.subtree", "X", "app.ablate_subtree", "ablate it and all rows below it", "X"),
        key("tree.together", "A", "app.ablate_pinned", "ablate all that is pinned together", "A"),
        key("tree.scale", "asterisk", "app.scale", "scale the node from 0 to 10 times", "*"),
        key("tree.curve", "V", "app.curve", "validation curve of what is pinned, or of a supernode", "V"),
        key("tree.unfold_all", "E", "unfold_all", "unfold every site", "E"),
        key("tree.fold_all", "C", "fold_all", "fold every site", "C"),
        key("tree.filter", "slash", "filter", "filter by name, token or explanation", "/"),
    ]
    # fmt: on


def completion_keys() -> list[BindingType]:
    """Keys of the completions pane."""
    return [
        *list_keys(),
        key("completions.target", "enter,l,right", "choose", "explain this completion", "enter"),
        key("completions.contrast", "c", "contrast", "hold the target against this one", "c"),
    ]


def prompt_keys() -> list[BindingType]:
    """Keys of the prompt line, beside those of every text line."""
    return [
        key("prompt.earlier", "up", "recall(1)", "an earlier prompt", "↑"),
        key("prompt.later", "down", "recall(-1)", "a later prompt", "↓"),
    ]


def chooser_keys() -> list[BindingType]:
    """Keys of the lists that are narrowed down by typing."""
    return [
        key("chooser.close", "escape", "close", "close", "esc"),
        key("chooser.up", "up", "move(-1)", "up", "↑"),
        key("chooser.down", "down", "move(1)", "down", "↓"),
        key("chooser.page_up", "pageup", "page(-1)", "a page up", "pgup"),
        key("chooser.page_down", "pagedown", "page(1)", "a page down", "pgdn"),
        key("chooser.forget", "delete", "forget", "remove it for good", "del", priority=True),
    ]


def download_keys() -> list[BindingType]:
    """Keys of the panel of a model that is not all here."""
    return [
        key("download.go", "enter", "go", "download it, and load it when it is here", "enter"),
        key("download.stop", "c,delete", "stop", "give up on the download", "c"),
        key("download.close", "escape,q", "close", "close; what runs goes on", "esc"),
    ]


def compare_keys() -> list[BindingType]:
    """Keys of the comparison of two circuits."""
    return [
        *list_keys(),
        key("compare.close", "escape,q,left,h", "close", "back to the circuit", "esc"),
        key("compare.choose", "enter,right,l", "choose", "go to this node in the circuit", "enter"),
        key("compare.next", "tab,J", "section(1)", "next section", "tab"),
        key("compare.previous", "shift+tab,K", "section(-1)", "previous section", "⇧tab"),
        key("compare.by", "f", "by", "node by node, or positions summed", "f"),
        key("compare.order", "o", "order", "by change, or by size", "o"),
    ]


def scale_keys() -> list[BindingType]:
    """Keys of the screen that makes a node stronger."""
    return [
        *close_keys(),
        key("scale.more", "right,l", "scale(1)", "stronger", "→"),
        key("scale.less", "left,h", "scale(-1)", "weaker", "←"),
        key("scale.none", "0", "factor(0.0)", "not at all", "0"),
        key("scale.same", "1", "factor(1.0)", "as it is", "1"),
        key("scale.most", "9", "factor(10.0)", "ten times", "9"),
    ]


def field_keys() -> list[BindingType]:
    """Keys of a field of the settings panel that is one of several words."""
    return [
        key("field.next", "right,space,l", "cycle(1)", "the next word", "→"),
        key("field.previous", "left,h", "cycle(-1)", "the word before", "←"),
        key("field.submit", "enter", "submit", "ask", "enter"),
    ]


def token_keys() -> list[BindingType]:
    """Keys of a text line for a token."""
    return [
        key("token.next", "down", "offered(1)", "the next token that begins so", "↓"),
        key("token.previous", "up", "offered(-1)", "the token before", "↑"),
    ]


def all_keys() -> list[tuple[str, list[Binding]]]:
    """Every binding of the main screen, by the pane that it works in; motions are named once."""
    everywhere = [*app_keys(), *screen_keys()]
    own = {name: list(keys()) for name, keys in PANE_KEYS.items()}
    motions = {one.id for one in _bindings(list_keys())}
    return [
        ("everywhere", _bindings(everywhere)),
        ("in every pane", _bindings(list_keys())),
        *(
            (name, [one for one in _bindings(keys) if one.id not in motions])
            for name, keys in own.items()
        ),
    ]


def _bindings(keys: Iterable[BindingType]) -> list[Binding]:
    return [one for one in keys if isinstance(one, Binding)]


PANE_KEYS = {"circuit": tree_keys, "completions": completion_keys, "prompt": prompt_keys}


def checked_keymap(keymap: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The part of a keymap that can be used, and a sentence on what cannot; "" if all can.

    An action that is not there is left out, and so are the new keys of two actions that would share one
    where both can be reached: they keep what they had.
    """
    sections = [[one.id or "" for one in keys] for _, keys in all_keys()]
    known = {one.id or "": one for _, keys in all_keys() for one in keys}
    good = {name: keys for name, keys in keymap.items() if name in known}
    why = ""
    if unknown := sorted(set(keymap) - set(known)):
        why = f"there is no action {unknown[0]!r}"
    everywhere = [*sections[0], *sections[1]]
    typed = {one.id for one in prompt_keys() if isinstance(one, Binding)}
    for section in sections:
        taken: dict[str, str] = {}
        # In a text line, the motions of the lists are not reached.
        others = sections[0] if typed.intersection(section) else everywhere
        for name in dict.fromkeys((*others, *section)):
            for pressed in _pressed(known[name], good.get(name)):
                other = taken.setdefault(pressed, name)
                if other != name:
                    why = why or f"{pressed} would be both {other} and {name}"
                    good = {n: keys for n, keys in good.items() if n not in (name, other)}
    return {name: ",".join(_pressed(known[name], keys)) for name, keys in good.items()}, why


def _pressed(one: Binding, keys: str | None) -> list[str]:
    """Textual's names for the keys of a binding, or for those that it gets instead."""
    names = ",".join(part.strip() for part in (keys or one.key).split(",") if part.strip())
    return [b.key for b in Binding.make_bindings([replace(one, key=names or one.key)])]
