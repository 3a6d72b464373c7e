"""The `medbus` command."""
