"""The share of each attention head in an edge, by attention written out from the weights.

Nine query heads in three groups that share keys and values, rotary embeddings on queries and keys.
"""

import pytest
import torch
from real.plain import PlainModel, PlainReading
from torch import Tensor

from scd_tui.attribution.circuit import weight_in
from scd_tui.attribution.explain import Explanation
from scd_tui.graph import NodeRef, Site, feature_id, parse_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

CLOSE = 1e-4
"""Of the largest part."""


def rotated(x: Tensor, theta: float) -> Tensor:
    """`[heads, pos, d_head]`, its pairs (i, i + d_head / 2) turned by position · theta^(-2i / d_head)."""
    half = x.shape[-1] // 2
    speeds = theta ** (-torch.arange(half, dtype=x.dtype) / half)
    turns = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * speeds
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [
            first * turns.cos() - second * turns.sin(),
            second * turns.cos() + first * turns.sin(),
        ],
        dim=-1,
    )


def by_head(model: PlainModel, layer: int, stream: Tensor) -> Tensor:
    """`[heads, pos, d]`: what each head writes, of the stream `[pos, d]` that the layer reads."""
    config, block = model.model.config, model.model.model.layers[layer]
    heads, groups, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    assert (heads, groups) == (9, 3)
    theta = config.rope_parameters["rope_theta"]
    norm, weights = block.input_layernorm, block.self_attn
    scale = (stream.square().mean(dim=-1, keepdim=True) + config.rms_norm_eps).rsqrt()
    normed = stream * scale * norm.weight

    def split(weight: Tensor, count: int) -> Tensor:
        return (normed @ weight.T).reshape(len(stream), count, width).transpose(0, 1)

    queries = rotated(split(weights.q_proj.weight, heads), theta)
    keys = rotated(split(weights.k_proj.weight, groups), theta)
    values = split(weights.v_proj.weight, groups)
    group = torch.arange(heads) // (heads // groups)
    scores = queries @ keys[group].transpose(1, 2) / width**0.5
    unseen = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    z = scores.masked_fill(unseen, -torch.inf).softmax(dim=-1) @ values[group]
    out = weights.o_proj.weight.reshape(-1, heads, width)
    return torch.einsum("hpk,dhk->hpd", z, out)


def test_attention_written_out_is_that_of_transformers(plain: PlainReading) -> None:
    written = by_head(plain.model, 15, plain.x[Site(14, "resid_post")]).sum(dim=0)
    torch.testing.assert_close(written, plain.x[Site(15, "attn_out")], atol=1e-5, rtol=1e-5)


def test_each_head_s_part_of_an_edge_is_that_of_attention_written_out(
    explanation: Explanation, plain: PlainReading, report: list[str]
) -> None:
    attribution = explanation.attribution
    source, target = Site(14, "resid_post"), Site(15, "attn_out")
    position, index = plain.strongest(target)
    node = feature_id(target, index, position)
    found = attribution.upstream_by_head(node)
    assert set(found) == {(15, head) for head in range(9)}
    effects = plain.effects(source, plain.parts[source])[1:]
    worst, size = 0.0, 0.0
    for row in effects.abs().flatten().topk(5).indices.tolist():
        at, feature = divmod(row, effects.shape[1])
        push = torch.zeros_like(plain.x[source])
        push[at + 1] = plain.written(source, plain.parts[source], feature, at + 1)
        _, moved = torch.func.jvp(
            lambda x: by_head(plain.model, 15, x), (plain.x[source],), (push,)
        )
        expected = plain.frozen(parse_node(node), moved)
        ref = NodeRef("feature", at + 1, source, feature)
        parts = [weight_in(attribution, found[15, head], ref.id) for head in range(9)]
        worst = max(worst, float((torch.tensor(parts) - expected).abs().max()))
        size = max(size, float(expected.abs().max()))
    report.append(f"heads: parts of edges off by {worst / size:.1e} of the largest")
    assert size > 0
    assert worst / size < CLOSE
