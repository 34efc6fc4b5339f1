"""The encoder products that a circuit is held against."""

from functools import partial

import pytest
import torch

from scd_tui.bench import products
from scd_tui.bench.products import PRODUCTS, Product, encoder_seconds, weights_like

CPU = torch.device("cpu")


def test_every_form_is_the_product_with_all_columns() -> None:
    z, w = torch.randn(5, 8), torch.randn(8, 20)
    for product in PRODUCTS:
        found = product.multiply(z, w.T.contiguous() if product.by_feature else w)
        torch.testing.assert_close(found if found.shape == (5, 20) else found.T, z @ w)


def test_no_two_dictionaries_share_their_memory() -> None:
    weights = weights_like([(8, 20)] * 3 + [(4, 10)], CPU)
    assert [tuple(w.shape) for w in weights] == [(8, 20)] * 3 + [(4, 10)]
    assert len({w.data_ptr() for w in weights}) == 4


def test_every_dictionary_is_multiplied_once_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[tuple[int, ...]]] = {}

    def noting(product: Product, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        assert w.is_contiguous()
        seen.setdefault(product.name, []).append((*z.shape, *w.shape))
        return product.multiply(z, w)

    watched = [Product(p.name, p.by_feature, partial(noting, p)) for p in PRODUCTS]
    monkeypatch.setattr(products, "PRODUCTS", tuple(watched))
    ticks = iter(range(10_000))
    found = encoder_seconds([(8, 20), (8, 20), (4, 10)], {5: 2}, CPU, lambda: float(next(ticks)))
    for product in PRODUCTS:
        a, b = ((20, 8), (10, 4)) if product.by_feature else ((8, 20), (4, 10))
        assert seen[product.name] == [(5, 8, *a), (5, 8, *a), (5, 4, *b)] * 2
    assert found[5].seconds == 1.0
    assert found[5].name in seen


def test_of_weights_too_large_for_the_memory_some_are_multiplied_and_the_time_scaled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "_MOST_BYTES", 2 * 4 * 8 * 20)
    made: list[int] = []
    plain = products.weights_like
    monkeypatch.setattr(
        products,
        "weights_like",
        lambda sizes, device: made.append(len(sizes)) or plain(sizes, device),
    )
    ticks = iter(range(10_000))
    found = encoder_seconds([(8, 20)] * 6, {5: 1}, CPU, lambda: float(next(ticks)))
    assert made == [2]
    assert found[5].seconds == 3.0
