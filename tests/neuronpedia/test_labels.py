from pathlib import Path

from tui.test_labelling import full_size

from scd_tui.neuronpedia.address import SITE, Feature
from scd_tui.neuronpedia.cache import Cache
from scd_tui.neuronpedia.entries import entry_of
from scd_tui.neuronpedia.labels import with_labels
from scd_tui.neuronpedia.records import Explanation, FeatureRecord


def test_a_circuit_gets_the_explanations_that_were_fetched_before(tmp_path: Path) -> None:
    source = "11-res_post_32k-oai"
    cache = Cache(tmp_path / "np", SITE)
    for index, said in ((3500, (Explanation("names"),)), (3501, ())):
        record = FeatureRecord("gpt2-small", source, index, explanations=said)
        cache.put({Feature("gpt2-small", source, index): entry_of(record, "brief", 1e9, "x")})
    cache.put({Feature("gpt2-small", source, 3502): entry_of(None, "brief", 1e9, "x")})
    cache.close()
    circuit = full_size()
    assert with_labels(circuit, None, tmp_path / "np").explanations == {f"{source}/3500": "names"}
    assert with_labels(circuit, None, tmp_path / "np", "https://np.example.org").explanations == {}
    assert with_labels(circuit, None, tmp_path / "none") is circuit
    assert not (tmp_path / "none").exists()
