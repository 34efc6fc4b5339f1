"""Random weights of a published size."""

from dataclasses import replace

import torch

from scd_tui.bench.shapes import random_dictionaries, random_saes, sites_of
from scd_tui.bench.sizes import SHAPES

CPU = torch.device("cpu")
TINY = SHAPES["tiny-shape"]


def test_every_sublayer_has_a_dictionary_that_reads_as_its_sae_does() -> None:
    x = torch.randn(7, TINY.width)
    dictionaries = random_dictionaries(TINY, CPU)
    assert tuple(dictionaries) == sites_of(TINY)
    for site, sae in random_saes(TINY, CPU):
        encoded = dictionaries[site].encode(x)
        features = sae.encode(x)
        dense = torch.zeros_like(features)
        dense[encoded.positions, encoded.indices] = encoded.values
        torch.testing.assert_close(dense, features, atol=1e-5, rtol=1e-5)


def test_weights_differ_between_sites() -> None:
    decoders = [sae.W_dec for _, sae in random_saes(TINY, CPU)]
    assert not any(torch.equal(decoders[0], other) for other in decoders[1:])


def test_streamed_ones_are_one_file_that_no_one_has_copied() -> None:
    found = [sae for _, sae in random_saes(replace(TINY, streamed=True), CPU)]
    assert len(found) == len(sites_of(TINY))
    assert all(torch.equal(sae.W_dec, found[0].W_dec) for sae in found)
    assert len({sae.W_dec.data_ptr() for sae in found}) == len(found)
