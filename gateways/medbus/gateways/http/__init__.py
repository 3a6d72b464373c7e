"""The HTTP gateway: accounts, activation and payments; the schema registry's read calls; health."""
