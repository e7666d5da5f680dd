"""The command `wse serve`: `command` is its command line, `run` starts the server and keeps it company."""
