"""The terminal app. `app.run_app` opens it; `terminal.refuse_reason` says where it cannot run."""
