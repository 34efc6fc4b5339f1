"""Which models, dictionary sets and prompt sets there are, as data. Nothing here imports torch."""
