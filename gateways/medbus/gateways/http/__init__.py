"""The HTTP gateway: accounts, activation, payments, processing; the schema registry's read calls; health."""
