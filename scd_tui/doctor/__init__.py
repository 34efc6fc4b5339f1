"""What `scd-tui doctor` looks at: the terminal, the folders, the software, the device, the network."""
