"""What each command of `scd-tui` does: its arguments, and `run(argv)`, which returns the exit code."""
