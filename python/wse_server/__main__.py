"""`python -m wse_server` is the command `wse`."""

from wse_server.cli import main

main()
