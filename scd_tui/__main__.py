"""`python -m scd_tui` is the `scd-tui` command."""

from scd_tui.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
