"""The Dockerfile: what it says, that its sources are there, and the image's commands in containers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import Container, why_not
from documents import ROOT, block
from images import Stage, image, is_sent, sent, stages
from netns import Network
from wse_server.cli.settings import BY_NAME

in_a_container = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

FILES = ("Dockerfile", "deploy/docker/app/Dockerfile")


def read_toml(path: str) -> dict[str, object]:
    return tomllib.loads((ROOT / path).read_text())


def builder() -> Stage:
    (found,) = [stage for stage in stages(ROOT / "Dockerfile") if stage.name == "builder"]
    return found


def final() -> Stage:
    return stages(ROOT / "Dockerfile")[-1]


def lines(stage: Stage) -> list[str]:
    """The commands of all RUN of a stage, one by one."""
    return [" ".join(command.split()) for one in stage.all("RUN") for command in one.value[0].split("&&")]


# ---- What it begins with ----


@pytest.mark.parametrize("file", FILES)
def test_every_base_is_pinned_to_a_version(file: str) -> None:
    found = stages(ROOT / file)
    names = {stage.name for stage in found}
    for stage in found:
        tag = stage.base.rpartition(":")[2]
        assert stage.base in names or re.match(r"\d+\.\d+", tag), stage.base


def test_the_compiler_is_that_of_the_repository() -> None:
    channel = re.search(r'channel = "(.+)"', (ROOT / "rust-toolchain.toml").read_text())
    assert channel is not None
    (rust,) = [stage for stage in stages(ROOT / "Dockerfile") if stage.name == "rust"]
    assert rust.base == f"rust:{channel[1]}-slim-trixie"
    assert builder().variables["RUSTUP_TOOLCHAIN"] == channel[1]


def test_the_environment_is_built_where_it_runs() -> None:
    # Its interpreter is a link to that of the base.
    assert builder().base == final().base
    assert [tuple(one.value) for one in final().all("COPY")] == [("/opt/wse", "/opt/wse")]
    assert final().the("COPY").flags == ("--from=builder",)
    assert final().all("RUN") == []


# ---- What it copies ----


def sources() -> list[tuple[str, str]]:
    """Source in the repository -> target, of each COPY that takes from there."""
    found = []
    for one in builder().all("COPY"):
        if not one.flags:
            *paths, target = one.value
            found += [(path, target) for path in paths]
    return found


def test_every_source_is_there_and_is_sent() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for source, _ in sources():
        assert (ROOT / source).exists(), source
        below = [path for path in tracked.splitlines() if path == source or path.startswith(f"{source}/")]
        lost = [path for path in below if not is_sent(path) and not path.endswith((".pem", ".key"))]
        assert below, f"{source}: git does not know it"
        assert not lost, lost


def test_nothing_is_sent_that_was_built_here_or_is_secret() -> None:
    for path in (
        "python/wse_server/_native.abi3.so",
        "python/wse_server/__pycache__/server.cpython-312.pyc",
        "python/node.key",
        "deploy/docker/secrets/jwt_secret",
        "deploy/docker/certs/node.key",
        "target/release/wse",
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
    ):
        assert not is_sent(path), path
    copied = {source for source, _ in sources()}
    roots = {path.split("/")[0] for path in copied}
    assert is_sent("crates/wse-py/Cargo.toml")
    assert roots == {path.name for path in ROOT.iterdir() if is_sent(path.name)} | {"benches", "requirements"}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """The builder's directory after its last COPY."""
    place = tmp_path / "src"
    for source, target in sources():
        for path in sent(source):
            # A directory is copied as what is in it, a file into what ends with a slash.
            inner = Path(path).relative_to(source) if (ROOT / source).is_dir() else Path(Path(path).name)
            file = place / target / inner
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, file)
    return place


def test_what_is_copied_is_a_whole_workspace(context: Path) -> None:
    command = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]
    done = subprocess.run(command, cwd=context, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    members = {package["name"] for package in json.loads(done.stdout)["packages"]}
    assert "wse-py" in members
    config = read_toml("pyproject.toml")
    for name in (config["project"]["readme"], *config["project"]["license-files"]):  # type: ignore[index]
        assert (context / name).is_file(), name
    # What the sources include of other files.
    for file in (context / "crates").rglob("*.rs"):
        if "tests" in file.parts or file.name == "tests.rs":
            continue
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', file.read_text()):
            assert (file.parent / name).exists(), f"{file.relative_to(context)}: {name}"


def test_the_client_is_built_by_the_line_of_the_file(context: Path) -> None:
    (line,) = [one for one in builder().all("RUN") if "hatchling" in one.value[0]]
    command = line.value[0].replace("/opt/tools/bin/python", sys.executable).replace("/src/", f"{context}/")
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=context, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (context / "build/client").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "wse_client/client.py" in archive.namelist()


def test_the_wheels_are_built_as_make_builds_them() -> None:
    make = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    known = {
        "$(RELEASE_VENV)": "/opt/tools",
        "$(BIN)/": "/opt/tools/bin/",
        "$(WHEELS)": "build/wheels",
        "$(CURDIR)": "/src",
        "PYO3_PYTHON=/opt/tools/bin/python ": "",
    }
    for old, new in known.items():
        make = make.replace(old, new)
    recipes = {" ".join(line.split()) for line in make.splitlines() if line.startswith("\t")}
    recipes = {part.strip() for line in recipes for part in line.split("&&")}
    (wheel,) = [line for line in lines(builder()) if "maturin build" in line]
    (client,) = [line for line in lines(builder()) if "hatchling build" in line]
    assert wheel in recipes
    assert client in recipes
    assert builder().variables["PYO3_PYTHON"] == "/opt/tools/bin/python"


def test_packages_come_from_locks_that_have_all_that_the_wheels_ask_for() -> None:
    installs = [line for line in lines(builder()) if "pip install" in line]
    for line in installs:
        assert "--require-hashes" in line or "--no-index --no-deps" in line, line
    server = read_toml("pyproject.toml")["project"]
    client = read_toml("python/wse_client/pyproject.toml")["project"]
    asked = [
        *server["dependencies"],  # type: ignore[index]
        *server["optional-dependencies"]["cli"],  # type: ignore[index]
        *client["dependencies"],  # type: ignore[index]
    ]
    names = {re.split(r"[^a-z-]", name)[0] for name in asked} - {"wse-client"}
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "requirements/image.txt").read_text()))
    assert names <= locked


# ---- What the image is ----


def test_the_image_runs_the_command_without_rights_and_says_how_it_is() -> None:
    last = final()
    for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert last.the(name).is_list or name == "HEALTHCHECK"
    assert image().command == ["wse", "serve"]
    assert image().healthcheck == ["CMD", "wse", "health"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image().user), "a number, so that runAsNonRoot can tell"
    ports = {str(BY_NAME[name].default) for name in ("port", "cluster_port")}
    assert set(last.the("EXPOSE").value) == ports
    assert last.the("STOPSIGNAL").value == ("SIGTERM",)
    labels = last.the("LABEL").value
    told = {name.strip('"'): value.strip('"') for name, value in zip(labels[::2], labels[1::2], strict=True)}
    project = read_toml("pyproject.toml")["project"]
    assert told["org.opencontainers.image.description"] == project["description"]  # type: ignore[index]
    assert told["org.opencontainers.image.licenses"] == project["license"]  # type: ignore[index]
    assert told["org.opencontainers.image.base.name"] == last.base


def test_the_files_name_the_version_of_the_repository() -> None:
    version = read_toml("Cargo.toml")["workspace"]["package"]["version"]  # type: ignore[index]
    (own,) = stages(ROOT / "deploy/docker/app/Dockerfile")
    assert own.base == f"wse-server:{version}"
    assert f"image: wse-server:{version}\n" in (ROOT / "deploy/docker/compose.yaml").read_text()
    assert f"newTag: {version}\n" in (ROOT / "deploy/kubernetes/kustomization.yaml").read_text()


# ---- Its commands ----


@pytest.fixture
def network() -> Iterator[Network]:
    with Network("a") as network:
        yield network


def probe(network: Network) -> int:
    """What the HEALTHCHECK exits with, as `docker exec` would run it."""
    with Container(image().healthcheck[1:], enter=network.enter("a"), user=image().user) as container:
        return container.wait()


@in_a_container
@pytest.mark.parametrize("user", ["10001:10001", "4711:4712"])
def test_as_process_1_without_rights_and_with_a_read_only_root_it_serves_and_sigterm_ends_it(
    network: Network, user: str
) -> None:
    assert probe(network) != 0, "nobody is there"
    environment = image().environment | {"WSE_DRAIN_TIMEOUT": "30"}
    with Container(
        image().command,
        enter=network.enter("a"),
        environment=environment,
        user=user,
        directory=image().directory,
    ) as container:
        container.wait_for_line("is ready on 0.0.0.0:5007")
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert re.search(r"(?m)^NSpid:\s+\d+\s+1$", status)
        assert re.search(r"(?m)^NoNewPrivs:\s+1$", status)
        for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            assert re.search(rf"(?m)^{name}:\s+0+$", status), name
        assert set(re.findall(r"(?m)^Uid:\s+(.+)$", status)[0].split()) == {user.partition(":")[0]}
        assert probe(network) == 0
        began = time.monotonic()
        assert container.stop(signal.SIGTERM) == 0, container.output
        assert time.monotonic() - began < 5, "nobody had to be waited for"
    assert "stopped" in container.output


@in_a_container
def test_nothing_can_be_written_but_in_tmp() -> None:
    code = """
import pathlib
for place in ("/app", "/etc", "/opt", "/root", "/usr", "/var", "/tmp"):
    try:
        pathlib.Path(place, "here").write_text("")
    except OSError:
        continue
    print("wrote", place)
"""
    with Container(["python", "-c", code]) as container:
        assert container.wait() == 0, container.output
    assert container.lines == ["wrote /tmp"]


def test_the_page_shows_the_image_with_a_program_of_ones_own(tmp_path: Path) -> None:
    shown = tmp_path / "Dockerfile"
    shown.write_text(block("docs/how-to/docker.md", "WSE_APP", "dockerfile"))
    assert stages(shown) == stages(ROOT / "deploy/docker/app/Dockerfile")


@in_a_container
def test_an_image_with_a_program_of_ones_own_runs_it(network: Network, tmp_path: Path) -> None:
    (own,) = stages(ROOT / "deploy/docker/app/Dockerfile")
    *names, target = own.the("COPY").value
    place = tmp_path / "app"
    place.mkdir()
    for name in names:
        shutil.copy(ROOT / "deploy/docker/app" / name, place / name)
    assert target == "./"
    client = shlex.quote("""
import asyncio
from wse_client import Client
async def main():
    async with Client("ws://127.0.0.1:5007/wse") as client, client.subscribe("room") as room:
        await client.send({"t": "say", "p": {"text": "hello"}})
        async for message in room:
            print("heard", message.payload["text"])
            return
asyncio.run(main())
""")
    with Container(
        image().command,
        enter=network.enter("a"),
        environment=image().environment | own.variables,
        mounts={image().directory: place},
        user=image().user,
        directory=image().directory,
    ) as container:
        container.wait_for_line("is ready")
        with Container(["sh", "-c", f"python -c {client}"], enter=network.enter("a")) as other:
            other.wait_for_line("heard hello")
            assert other.wait() == 0, other.output
        assert container.stop(signal.SIGTERM) == 0, container.output
