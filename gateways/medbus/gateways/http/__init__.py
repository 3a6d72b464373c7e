"""The HTTP gateway: the schema registry's read calls, and health."""
