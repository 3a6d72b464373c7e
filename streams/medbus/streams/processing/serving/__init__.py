"""Work items in, results out: a server with a pool of processes."""
