"""What there is to compute on, and why it is no GPU where it is none."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping

import msgspec
import psutil

from scd_tui.catalog.machine import free_ram, gpus
from scd_tui.catalog.plan import Gpu
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.doctor.findings import Finding
from scd_tui.numbers import in_bytes
from scd_tui.text import visible

SECONDS = 120.0
"""For importing torch, from a disk at the other end of a network at worst."""
LEAST_MEMORY = 1 << 30
"""Bytes that the libraries and the bundled model need, roughly."""


class Probed(msgspec.Struct, frozen=True):
    """What `probe` found; `fault` is why it found nothing."""

    torch: str = ""
    cuda: str | None = None
    seconds: float = 0.0
    devices: tuple[str, ...] = ()
    why: str = ""
    fault: str = ""


def machine() -> list[Finding]:
    """Processors and main memory, without torch."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free, total = free_ram(), int(psutil.virtual_memory().total)
    short = free < LEAST_MEMORY
    return [
        Finding(
            name="processors",
            says=f"{usable} of {os.cpu_count()} can be used",
            facts={"cpus": os.cpu_count(), "usable": usable},
        ),
        Finding(
            name="memory",
            state="warn" if short else "ok",
            says=f"{in_bytes(free)} free of {in_bytes(total)}",
            todo="the bundled model alone takes about 1 GB: make room" if short else "",
            facts={"free": free, "total": total},
        ),
    ]


async def probe_torch(program: tuple[str, ...]) -> Probed:
    """What torch finds, asked in a process of its own; `program` is a Python and how to start it."""
    process = await asyncio.create_subprocess_exec(
        *(*program, "-m", "scd_tui.doctor.probe"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        return Probed(fault=f"torch was not imported within {SECONDS:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return decode_json(out, Probed)
    except Undecodable:
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
        return Probed(fault=f"torch cannot be imported: {visible(' '.join(last))}")


def driver_version() -> str:
    """NVIDIA's driver, "" where there is none that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split("\n")[0].strip()


def devices(
    found: Probed,
    listed: tuple[Gpu, ...],
    driver: str,
    wanted: str,
    env: Mapping[str, str],
) -> list[Finding]:
    """What torch can use, beside what NVIDIA's driver lists; `wanted` is the configured device."""
    if found.fault:
        return [
            Finding(
                name="torch",
                state="problem",
                says=found.fault,
                todo="install it anew: pip install --force-reinstall torch",
            )
        ]
    built = f"for CUDA {found.cuda}" if found.cuda else "without CUDA"
    made = [
        Finding(
            name="torch",
            says=f"{found.torch}, built {built}, imported in {found.seconds:.1f} s",
            facts={"torch": found.torch, "cuda": found.cuda, "seconds": found.seconds},
        )
    ]
    if found.devices:
        for index, label in enumerate(found.devices):
            gpu = listed[index] if index < len(listed) else None
            room = f", {in_bytes(gpu.free)} of {in_bytes(gpu.total)} free" if gpu else ""
            made.append(
                Finding(
                    name=f"cuda:{index}",
                    says=f"{visible(label)}{room}{f', driver {driver}' if driver else ''}",
                    facts={
                        "name": label,
                        "free": gpu.free if gpu else None,
                        "total": gpu.total if gpu else None,
                        "driver": driver or None,
                    },
                )
            )
    else:
        made.append(_none(found, listed, driver, env))
    if wanted.startswith("cuda"):
        number = wanted.partition(":")[2] or "0"
        if not (number.isdigit() and int(number) < len(found.devices)):
            made.append(
                Finding(
                    name="wanted",
                    state="problem",
                    says=f"{visible(wanted)}, which is not there",
                    todo='--device cpu, or device = "auto" in the configuration',
                    facts={"device": wanted},
                )
            )
    return made


def _none(found: Probed, listed: tuple[Gpu, ...], driver: str, env: Mapping[str, str]) -> Finding:
    """Why there is no CUDA device: it matters where the machine has one."""
    hidden = env.get("CUDA_VISIBLE_DEVICES")
    state, todo = False, ""
    if not driver:
        why = "no NVIDIA driver answers here (nvidia-smi): the processors compute"
    elif hidden is not None and not listed:
        why = f"CUDA_VISIBLE_DEVICES={visible(hidden)} shows none"
        state, todo = True, "unset it, or name one that nvidia-smi -L lists"
    elif found.cuda is None:
        why = f"driver {driver} has one, but this torch was built without CUDA"
        state, todo = True, "install a torch for CUDA, as pytorch.org says"
    else:
        why = f"driver {driver} is there, but torch says: {visible(found.why) or 'no device'}"
        state, todo = True, f"a driver that knows CUDA {found.cuda}, or a torch for an earlier one"
    return Finding(
        name="cuda",
        state="warn" if state else "ok",
        says=f"none: {why}",
        todo=todo,
        facts={"driver": driver or None, "why": found.why},
    )


def look_for_gpus() -> tuple[tuple[Gpu, ...], str]:
    """What the driver lists, and its version."""
    return gpus(), driver_version()
