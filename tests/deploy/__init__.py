"""The files below `deploy/`, run by the programs that they are for."""
