"""The `bascule` command: one module per sub-command."""
