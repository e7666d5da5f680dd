"""What `make docs` needs beside Sphinx: pages, docstrings and signatures made ready for it."""
