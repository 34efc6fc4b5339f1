"""Where the network would be used, and, if that is wanted, whether it can be."""

import time
from collections.abc import Mapping

from scd_tui.config import Config
from scd_tui.doctor.findings import Finding
from scd_tui.errors import InputError
from scd_tui.neuronpedia.address import Addresses, Feature

ASKED = Feature("gpt2-small", "6-res_post_32k-oai", 650)
"""Always this one, so that it says nothing of anybody's prompt."""
ASKED_FILE = ("openai-community/gpt2", "config.json")


def settings(config: Config, env: Mapping[str, str]) -> list[Finding]:
    """What would be asked of whom. Asks nothing."""
    from huggingface_hub import constants, get_token

    try:
        addresses = Addresses.of(env)
    except InputError as error:
        neuronpedia = Finding(
            name="neuronpedia",
            state="problem",
            says=str(error),
            todo="mend or unset that variable",
        )
    else:
        other = "" if addresses == Addresses() else f", files from {addresses.bulk}"
        how = (
            "asked for the features that a prompt activates; --offline or `neuronpedia = false` stops that"
            if config.neuronpedia
            else "never asked, as the configuration says"
        )
        neuronpedia = Finding(
            name="neuronpedia",
            says=f"{addresses.site}{other}: {how}",
            facts={"site": addresses.site, "bulk": addresses.bulk, "on": config.neuronpedia},
        )
    token = "HF_TOKEN or a login is there" if get_token() else "without a token"
    offline = ", forbidden by HF_HUB_OFFLINE" if constants.is_offline_mode() else ""
    hub = Finding(
        name="hub",
        says=f"{constants.ENDPOINT}, {token}{offline}: for `scd-tui download` alone",
        facts={
            "endpoint": constants.ENDPOINT,
            "token": bool(get_token()),
            "offline": bool(constants.is_offline_mode()),
        },
    )
    return [neuronpedia, hub]


def ask(env: Mapping[str, str]) -> list[Finding]:
    """One request to Neuronpedia and one to the Hub, the same ones for everybody. It takes a while."""
    return [_neuronpedia(env), _hub()]


def _neuronpedia(env: Mapping[str, str]) -> Finding:
    from scd_tui.neuronpedia.client import Client
    from scd_tui.neuronpedia.faults import Fault
    from scd_tui.neuronpedia.transport import Transport

    try:
        addresses = Addresses.of(env)
    except InputError as error:
        return Finding(name="neuronpedia asked", state="warn", says=str(error))
    client = Client(addresses, Transport(addresses.site, seconds=20))
    start = time.perf_counter()
    try:
        client.full(ASKED)
    except Fault as fault:
        return Finding(
            name="neuronpedia asked",
            state="warn",
            says=fault.message,
            todo="without it, what was fetched before is shown; a proxy is taken from HTTPS_PROXY",
            facts={"reached": False, "kind": fault.kind},
        )
    finally:
        client.close()
    seconds = time.perf_counter() - start
    return Finding(
        name="neuronpedia asked",
        says=f"answers in {seconds:.1f} s",
        facts={"reached": True, "seconds": seconds},
    )


def _hub() -> Finding:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    from scd_tui.catalog.hub_errors import told
    from scd_tui.catalog.hub_files import HubFile

    repo, name = ASKED_FILE
    start = time.perf_counter()
    try:
        with told(HubFile(repo, name)):
            get_hf_file_metadata(hf_hub_url(repo, name), timeout=10)
    except InputError as error:
        return Finding(
            name="hub asked",
            state="warn",
            says=str(error),
            todo="without it, what is downloaded already works",
            facts={"reached": False},
        )
    seconds = time.perf_counter() - start
    return Finding(
        name="hub asked",
        says=f"answers in {seconds:.1f} s",
        facts={"reached": True, "seconds": seconds},
    )
