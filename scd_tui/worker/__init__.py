"""The process that owns the device, what it says, and the client that the app talks to it through.

`protocol` and `client` belong to the app's side too and import nothing heavy; `server` imports torch.
"""
