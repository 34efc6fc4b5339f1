"""Repositories as they lie on the Hub, with small random tensors in them.

Paths, configurations and tensor names are those that sae_lens's loaders read and its registry lists.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import D_HEAD, HEADS, WIDTH, write_family, write_gemma_with_images
from hub_server import Files, Repo
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
from safetensors.torch import save
from tiny import write_model

from scd_tui.catalog.spec import HubDictionary, ModelSpec

FEATURES, K = 64, 8


@dataclass(frozen=True)
class Family:
    """Releases of sae_lens's registry that make up a set, and the model that they belong to.

    `ids` are picked out of each release; `{}` stands for the layer. `hooks` are where they belong.
    """

    name: str
    repo: str
    model: str
    releases: tuple[str, ...]
    ids: tuple[str, ...]
    hooks: tuple[str, ...]
    layers: int = 3
    prepends_bos: bool = False
    options: Mapping[str, bool] = field(default_factory=dict)


_V5 = ("attn_out", "mlp_out", "resid_post")
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "gpt2-v5",
            "gpt2",
            "gpt2",
            tuple(f"gpt2-small-{kind.replace('_', '-')}-v5-32k" for kind in _V5),
            tuple(f"blocks.{{}}.hook_{kind}" for kind in _V5),
            tuple(f"blocks.{{}}.hook_{kind}" for kind in _V5),
        ),
        Family(
            "gpt2-res-jb",
            "gpt2",
            "gpt2",
            ("gpt2-small-res-jb",),
            ("blocks.{}.hook_resid_pre",),
            ("blocks.{}.hook_resid_pre",),
            prepends_bos=True,
            options={"center_writing_weights": True},
        ),
        Family(
            "gpt2-hook-z-kk",
            "gpt2",
            "gpt2",
            ("gpt2-small-hook-z-kk",),
            ("blocks.{}.hook_z",),
            ("blocks.{}.attn.hook_z",),
            prepends_bos=True,
        ),
        Family(
            "pythia-sm",
            "EleutherAI/pythia-70m-deduped",
            "pythia",
            tuple(f"pythia-70m-deduped-{kind}-sm" for kind in ("att", "mlp", "res")),
            tuple(f"blocks.{{}}.hook_{kind}" for kind in _V5),
            tuple(f"blocks.{{}}.hook_{kind}" for kind in _V5),
        ),
        Family(
            "gemma-scope",
            "google/gemma-2-2b",
            "gemma-2",
            tuple(f"gemma-scope-2b-pt-{kind}-canonical" for kind in ("att", "mlp", "res")),
            ("layer_{}/width_16k/canonical",) * 3,
            ("blocks.{}.attn.hook_z", "blocks.{}.hook_mlp_out", "blocks.{}.hook_resid_post"),
            prepends_bos=True,
        ),
        Family(
            "llama-scope",
            "meta-llama/Llama-3.1-8B",
            "llama-3",
            ("llama_scope_lxa_8x", "llama_scope_lxm_8x", "llama_scope_lxr_8x"),
            ("l{}a_8x", "l{}m_8x", "l{}r_8x"),
            ("blocks.{}.hook_attn_out", "blocks.{}.hook_mlp_out", "blocks.{}.hook_resid_post"),
            prepends_bos=True,
        ),
        Family(
            "gemma-scope-2",
            "google/gemma-3-1b-pt",
            "gemma-3",
            tuple(f"gemma-scope-2-1b-pt-{kind}-all" for kind in ("att", "mlp", "res")),
            ("layer_{}_width_16k_l0_small",) * 3,
            ("blocks.{}.attn.hook_z", "blocks.{}.hook_mlp_out", "blocks.{}.hook_resid_post"),
            prepends_bos=True,
        ),
        Family(
            # the larger ones of Gemma 3 take images too, and are laid out otherwise
            "gemma-scope-2-images",
            "google/gemma-3-4b-pt",
            "gemma-3-images",
            tuple(f"gemma-scope-2-4b-pt-{kind}-all" for kind in ("att", "mlp", "res")),
            ("layer_{}_width_16k_l0_small",) * 3,
            ("blocks.{}.attn.hook_z", "blocks.{}.hook_mlp_out", "blocks.{}.hook_resid_post"),
            prepends_bos=True,
        ),
        Family(
            "gpt2-mlp-tm",
            "gpt2",
            "gpt2",
            ("gpt2-small-mlp-tm",),
            ("blocks.{}.hook_mlp_out",),
            ("blocks.{}.hook_mlp_out",),
            prepends_bos=True,
            options={"center_writing_weights": True},
        ),
        Family(
            "llama-scope-r1",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
            "llama-3",
            ("llama_scope_r1_distill",),
            ("l{}r_800m_openr1_math",),
            ("blocks.{}.hook_resid_post",),
            prepends_bos=True,
        ),
        Family(
            "qwen-scope",
            "Qwen/Qwen3-1.7B-Base",
            "qwen-3",
            ("qwen-scope-3-1.7b-base-w32k-l50",),
            ("layer{}",),
            ("blocks.{}.hook_resid_post",),
            prepends_bos=True,
        ),
    )
}


@dataclass(frozen=True)
class Entry:
    """One dictionary of the registry, and where it belongs."""

    release: str
    id: str
    repo: str
    path: str
    layout: str
    hook: str

    @property
    def layer(self) -> int:
        return int(self.hook.split(".")[1])


def entries(family: Family) -> list[Entry]:
    """The dictionaries of a family, by release, then by layer."""
    registry = get_pretrained_saes_directory()
    found = []
    for release, sae_id, hook in zip(family.releases, family.ids, family.hooks, strict=True):
        known = registry[release]
        for layer in range(family.layers):
            name = sae_id.format(layer)
            layout = known.conversion_func or "sae_lens"
            path = known.saes_map[name]
            found.append(Entry(release, name, known.repo_id, path, layout, hook.format(layer)))
    return found


def width_of(family: Family, hook: str) -> int:
    if hook.endswith("hook_z") and family.model not in ("gpt2", "pythia"):
        return HEADS * D_HEAD
    return WIDTH


# --- dictionaries -------------------------------------------------------------------------


def tensors(width: int, features: int, seed: int) -> dict[str, torch.Tensor]:
    """Random weights of which none could be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "W_enc": draw(width, features) * width**-0.5,
        "b_enc": 0.2 * draw(features),
        "W_dec": draw(features, width) * width**-0.5,
        "b_dec": 0.2 * draw(width),
    }


def v5_config(entry: Entry, width: int, features: int, k: int) -> dict[str, Any]:
    """What lies beside OpenAI's v5 dictionaries: by its architecture alone it would be a plain ReLU."""
    return {
        "architecture": "standard",
        "d_in": width,
        "d_sae": features,
        "dtype": "float32",
        "device": "cpu",
        "model_name": "gpt2-small",
        "hook_name": entry.hook,
        "hook_layer": entry.layer,
        "hook_head_index": None,
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": k},
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "sae_lens_training_version": None,
        "prepend_bos": False,
        "dataset_path": "Skylion007/openwebtext",
        "dataset_trust_remote_code": True,
        "context_size": 64,
        "normalize_activations": "layer_norm",
    }


def _old_config(entry: Entry, width: int, features: int) -> dict[str, Any]:
    """Of the first version of sae_lens: a hook point, and no architecture."""
    return {
        "model_name": "gpt2-small",
        "hook_point": entry.hook,
        "hook_point_layer": entry.layer,
        "hook_point_head_index": None,
        "dataset_path": "Skylion007/openwebtext",
        "is_dataset_tokenized": False,
        "context_size": 128,
        "d_in": width,
        "d_sae": features,
        "expansion_factor": 32,
        "prepend_bos": True,
        "dtype": "torch.float32",
        "device": "mps",
        "l1_coefficient": 8e-05,
    }


def _sm_config(entry: Entry, width: int, features: int) -> dict[str, Any]:
    return {
        "d_in": width,
        "d_sae": features,
        "dtype": "float32",
        "device": "cpu",
        "model_name": "pythia-70m-deduped",
        "hook_name": entry.hook,
        "hook_layer": entry.layer,
        "hook_head_index": None,
        "activation_fn_str": "relu",
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "sae_lens_training_version": None,
        "prepend_bos": False,
        "dataset_path": "EleutherAI/the_pile_deduplicated",
        "context_size": 128,
        "normalize_activations": "none",
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def dictionary_files(
    entry: Entry, weights: dict[str, torch.Tensor], *, k: int = K
) -> dict[str, bytes]:
    """A dictionary's files, by their path in its repository."""
    width, features = weights["W_enc"].shape
    path = entry.path
    match entry.layout:
        case "sae_lens":
            if "v5" in entry.release:
                config = v5_config(entry, width, features, k)
            elif "pythia" in entry.release:
                config = _sm_config(entry, width, features)
            else:
                config = _old_config(entry, width, features)
                if "mlp-tm" in entry.release:
                    config |= {"context_size": 512, "normalize_activations": True}
            return {
                f"{path}/cfg.json": _json(config),
                f"{path}/sae_weights.safetensors": save(weights),
                f"{path}/sparsity.safetensors": save({"sparsity": torch.zeros(features)}),
            }
        case "connor_rob_hook_z":
            buffer = io.BytesIO()
            torch.save(weights, buffer)
            config = {"act_size": width, "dict_size": features, "act_name": entry.hook, "l1": 1.8}
            return {path.split(".pt")[0] + "_cfg.json": _json(config), path: buffer.getvalue()}
        case "gemma_2":
            arrays = {name: tensor.numpy() for name, tensor in weights.items()}
            buffer = io.BytesIO()
            np.savez(buffer, threshold=np.full(features, 0.3, np.float32), **arrays)
            return {f"{path}/params.npz": buffer.getvalue()}
        case "gemma_3":
            named = {name.lower(): tensor for name, tensor in weights.items()}
            named["threshold"] = torch.full((features,), 0.3)
            kind = "self_attn.o_proj.input" if "attn_out" in path else "output"
            config = {
                "architecture": "jump_relu",
                "model_name": "google/gemma-3-1b-pt",
                "hf_hook_point_in": f"model.layers.{entry.layer}.{kind}",
                "width": features,
            }
            return {f"{path}/config.json": _json(config), f"{path}/params.safetensors": save(named)}
        case "llama_scope":
            norm = get_pretrained_saes_directory()[entry.release].norm_scaling_factor[entry.id]
            # dictionaries of normalised activations, stored in half precision
            named = {
                "encoder.weight": weights["W_enc"].T,
                "encoder.bias": weights["b_enc"],
                "decoder.weight": weights["W_dec"].T,
                "decoder.bias": weights["b_dec"],
            }
            halved = {name: t.contiguous().to(torch.bfloat16) for name, t in named.items()}
            config = {
                "d_model": width,
                "d_sae": features,
                "hook_point_in": entry.hook,
                "jump_relu_threshold": 0.3,
                "dataset_average_activation_norm": {"in": width**0.5 / norm},
            }
            return {
                f"{path}/hyperparams.json": _json(config),
                f"{path}/checkpoints/final.safetensors": save(halved),
            }
        case "llama_scope_r1_distill":
            named = {
                "encoder.weight": weights["W_enc"].T.contiguous(),
                "encoder.bias": weights["b_enc"],
                "decoder.weight": weights["W_dec"].T.contiguous(),
                "decoder.bias": weights["b_dec"],
                "log_jumprelu_threshold": torch.full((features,), 0.3).log(),
            }
            config = {
                "d_model": width,
                "expansion_factor": features // width,
                "hook_point_in": entry.hook,
                "norm_activation": "dataset-wise",
            }
            return {
                f"{path}/config.json": _json(config),
                f"{path}/sae_weights.safetensors": save(named),
            }
        case "qwen_scope":
            buffer = io.BytesIO()
            turned = {name: t.T.contiguous() for name, t in weights.items() if t.dim() == 2}
            torch.save(weights | turned, buffer)
            return {path: buffer.getvalue()}
    raise AssertionError(entry.layout)


# --- models and whole sets ----------------------------------------------------------------


def model_files(folder: Path, *, cards: Iterable[str] = ("README.md",)) -> dict[str, bytes | Path]:
    """A model's files as its repository has them, with some that nobody needs."""
    files: dict[str, bytes | Path] = {p.name: p for p in folder.iterdir() if p.is_file()}
    config = json.loads((folder / "config.json").read_bytes())
    if config["model_type"] == "gpt2":
        # which the real one has, and older libraries read
        files["config.json"] = _json({**config, "n_ctx": config["n_positions"]})
    return files | dict.fromkeys(cards, b"# a card\n") | {"pytorch_model.bin": b"\x80\x04."}


def repositories(family: Family, folder: Path) -> dict[str, Repo]:
    """The repositories of a family, its model written to `folder`."""
    if family.model == "gpt2":
        write_model(folder, layers=family.layers, width=WIDTH)
    elif family.model == "gemma-3-images":
        write_gemma_with_images(folder)
    else:
        write_family(folder, family.model)
    files: dict[str, dict[str, bytes | Path]] = {family.repo: model_files(folder)}
    for n, entry in enumerate(entries(family)):
        made = dictionary_files(entry, tensors(width_of(family, entry.hook), FEATURES, 100 + n))
        files.setdefault(entry.repo, {}).update(made)
    return serve_files(files)


def repositories_of_gpt2(spec: ModelSpec, folder: Path) -> dict[str, Repo]:
    """The repositories of a built-in set of GPT-2 small: all of its twelve layers, narrow."""
    write_model(folder, layers=12, width=WIDTH)
    files: dict[str, dict[str, bytes | Path]] = {"gpt2": model_files(folder)}
    for n, known in enumerate(spec.dictionaries.values()):
        assert isinstance(known, HubDictionary)
        entry = Entry(known.release, known.id, known.repo, known.path, known.layout, known.hook)
        made = dictionary_files(entry, tensors(WIDTH, FEATURES, 100 + n), k=32)
        files.setdefault(entry.repo, {}).update(made)
    return serve_files(files)


def write_toml(path: Path, family: Family, chosen: Sequence[Entry] | None = None) -> Path:
    """A file of the catalogue for a family: its model, and one set of the dictionaries."""
    lines = [f'name = "{family.name}"', "[model]", f'repo = "{family.repo}"', "", "[[set]]"]
    lines += [
        'name = "small"',
        "context = 64",
        f"prepends_bos = {str(family.prepends_bos).lower()}",
    ]
    if family.options:
        options = ", ".join(f"{k} = {str(v).lower()}" for k, v in family.options.items())
        lines.append(f"model_options = {{ {options} }}")
    by_release: dict[str, list[Entry]] = {}
    for entry in entries(family) if chosen is None else chosen:
        by_release.setdefault(entry.release, []).append(entry)
    for release, several in by_release.items():
        hook = several[0].hook.replace(f".{several[0].layer}.", ".{layer}.")
        lines += ["", "[[set.group]]", f'release = "{release}"', f'repo = "{several[0].repo}"']
        lines += [f'layout = "{several[0].layout}"', f'hook = "{hook}"']
        lines.append(f"layers = {[entry.layer for entry in several]}")
        lines.append(f"id = {json.dumps([entry.id for entry in several])}")
        lines.append(f"path = {json.dumps([entry.path for entry in several])}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def serve_files(files: Mapping[str, Files]) -> dict[str, Repo]:
    """Repositories with one revision each."""
    return {repo: Repo({"main": held}) for repo, held in files.items()}
