import pytest

from scd_tui.attribution.published import published
from scd_tui.errors import InputError
from scd_tui.judge import Published


def test_what_the_registry_says_is_found_by_release_and_dictionary() -> None:
    found = published("gpt2-small-resid-post-v5-128k", "blocks.3.hook_resid_post")
    assert found == Published(l0=32.0, explained_variance=0.9)


def test_what_it_does_not_say_is_unpublished() -> None:
    assert published("gpt2-small-mlp-out-v5-128k", "blocks.3.hook_mlp_out") == Published()


def test_an_impossible_explained_variance_is_unpublished_too() -> None:
    found = published("gpt2-small-hook-z-kk", "blocks.11.hook_z")
    assert found.explained_variance is None and found.l0 is not None


@pytest.mark.parametrize(
    ("release", "sae_id", "said"),
    [
        ("gpt2-small-nope", "x", "knows no release 'gpt2-small-nope'"),
        ("gpt2-small-mlp-out-v5-128k", "x", "has no dictionary 'x'"),
    ],
)
def test_what_it_does_not_have_is_refused(release: str, sae_id: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        published(release, sae_id)
