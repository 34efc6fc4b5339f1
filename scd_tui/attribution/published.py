"""What sae_lens's registry says of a dictionary's quality, to hold a loaded one to."""

from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from scd_tui.errors import InputError
from scd_tui.judge import Published


def published(release: str, sae_id: str) -> Published:
    """L0 and explained variance, as far as they were published; few were.

    Raises InputError on a release or a dictionary that the registry does not have.
    """
    found = get_pretrained_saes_directory().get(release)
    if found is None:
        raise InputError(f"sae_lens knows no release {release!r}")
    if sae_id not in found.saes_map:
        raise InputError(f"the release {release!r} has no dictionary {sae_id!r}")
    return Published.from_registry(
        l0=float(found.expected_l0[sae_id]),
        explained_variance=float(found.expected_var_explained[sae_id]),
    )
