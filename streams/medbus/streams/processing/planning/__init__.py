"""From a request that was granted to work items, and from the last of them to the end of the request."""
