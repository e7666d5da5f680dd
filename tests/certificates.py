"""Certificates as operators make them: the commands of the deployment guide, run as they stand there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAKE_CA = """\
# Generate CA
openssl ecparam -genkey -name prime256v1 -out ca.key
openssl req -new -x509 -key ca.key -out ca.pem -days 365 -subj "/CN=WSE CA"
"""

MAKE_NODE = r"""
# Generate node certificate
openssl ecparam -genkey -name prime256v1 -out node.key
openssl req -new -key node.key -out node.csr -subj "/CN=wse-node-1"
openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key \
    -CAcreateserial -out node.pem -days 365
"""


@dataclass(frozen=True)
class Files:
    """The three files of a node."""

    ca: Path
    cert: Path
    key: Path

    @property
    def arguments(self) -> dict[str, Any]:
        """As `connect_cluster` takes them."""
        return {"tls_ca": self.ca, "tls_cert": self.cert, "tls_key": self.key}


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._run(MAKE_CA)

    def node(self, name: str) -> Files:
        """Makes a certificate for a node."""
        self._run(MAKE_NODE)
        place = self.directory / name
        place.mkdir()
        for file in ("node.key", "node.pem"):
            (self.directory / file).rename(place / file)
        return Files(self.directory / "ca.pem", place / "node.pem", place / "node.key")

    def named_node(self, name: str, names: str) -> Files:
        """Makes a certificate of version 3 with names in it, such as "IP:127.0.0.1"."""
        extensions = f'printf "subjectAltName={names}\\n" > names.ext\n'
        self._run(extensions + MAKE_NODE.replace("-days 365", "-days 365 -extfile names.ext"))
        place = self.directory / name
        place.mkdir()
        for file in ("node.key", "node.pem"):
            (self.directory / file).rename(place / file)
        return Files(self.directory / "ca.pem", place / "node.pem", place / "node.key")

    def _run(self, commands: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", commands], cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
