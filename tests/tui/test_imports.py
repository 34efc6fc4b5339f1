import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_app_never_imports_what_takes_seconds() -> None:
    code = (
        "import sys; import scd_tui.tui.run, scd_tui.worker.client;"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sae_lens', 'numpy'};"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_the_client_needs_no_textual() -> None:
    code = "import sys, scd_tui.worker.client; print('textual' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
