import json
from urllib.parse import parse_qs, urlsplit

import pytest

from scd_tui.errors import InputError
from scd_tui.neuronpedia.address import Addresses, Feature, base_url, may_follow

FEATURE = Feature("gpt2-small", "6-res_post_32k-oai", 1154)


def test_links_of_a_feature() -> None:
    addresses = Addresses.of({})
    assert addresses.page(FEATURE) == (
        "https://www.neuronpedia.org/gpt2-small/6-res_post_32k-oai/1154"
    )
    assert addresses.api(FEATURE) == (
        "https://www.neuronpedia.org/api/feature/gpt2-small/6-res_post_32k-oai/1154"
    )
    assert addresses.host == "neuronpedia.org"
    assert addresses.page(Feature("a/..", "?", 1)).endswith("org/a%2F../%3F/1")


def test_a_quick_list_holds_150_features_with_indices_as_text() -> None:
    many = [Feature("gpt2-small", "6-res_post_32k-oai", n) for n in range(150)]
    query = parse_qs(urlsplit(Addresses().quick_list("To be & not", many)).query)
    assert query["name"] == ["To be & not"]
    assert json.loads(query["features"][0])[149] == {
        "modelId": "gpt2-small",
        "layer": "6-res_post_32k-oai",
        "index": "149",
    }
    with pytest.raises(InputError, match="150 features, not 151"):
        Addresses().quick_list("x", [*many, FEATURE])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://np.example.org/", "https://np.example.org"),
        ("https://np.example.org/api", "https://np.example.org"),
        ("https://np.example.org:8443/sub/", "https://np.example.org:8443/sub"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.9:3000/api/", "http://127.0.0.9:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_addresses_of_one_s_own(text: str, url: str) -> None:
    assert Addresses.of({"NEURONPEDIA_BASE_URL": text}).site == url
    assert base_url(text, "X") == url


@pytest.mark.parametrize(
    "text",
    [
        "http://neuronpedia.org",
        "ftp://localhost",
        "neuronpedia.org",
        "https://",
        "https://user:word@neuronpedia.org",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "https://[::1",
        "https://x:99999",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="NEURONPEDIA_BASE_URL is to be an https address"):
        Addresses.of({"NEURONPEDIA_BASE_URL": text})


def test_redirects_lead_to_https_or_stay_on_this_machine() -> None:
    public, local = "https://neuronpedia.org/a", "http://127.0.0.1:1/a"
    assert may_follow(public, "https://www.neuronpedia.org/a")
    assert may_follow(local, "http://localhost:2/b") and may_follow(local, public)
    for target in ("http://www.neuronpedia.org/a", local, "https://127.0.0.1/a", "file:///x", ""):
        assert not may_follow(public, target)
    assert not may_follow(public, "https://user@www.neuronpedia.org/a")
