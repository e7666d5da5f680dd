"""The examples of docs/how-to/client.md, run as they stand but for the port; and the wheel of the package."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import support
from client.conftest import Factory
from documents import block, every_block
from support import Program, run, wait_until
from wse_client import __version__

Main = Callable[[str], Coroutine[Any, Any, None]]


def function(code: str, name: str) -> Main:
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102 - the page's own example
    main: Main = namespace[name]
    return main


@pytest.mark.parametrize(
    "code",
    [block("docs/how-to/client.md", "asyncio.run(main())"), block("docs/how-to/client.md", "SyncClient")],
    ids=["asyncio", "sync"],
)
def test_the_programs_print_what_is_published(serving: Factory, tmp_path: Path, code: str) -> None:
    server = serving()
    program = tmp_path / "program.py"
    program.write_text(code.replace("5007", str(server.port)))
    with Program(program) as running:
        wait_until(lambda: server.server.get_topic_subscriber_count("prices") == 1, "it has subscribed")
        server.server.broadcast("prices", '{"t":"tick","p":{"ES":5234.75}}')
        assert running.wait_for_line("prices") == "prices {'ES': 5234.75}"


def test_the_readmes_show_the_same_program() -> None:
    first = block("docs/how-to/client.md", "asyncio.run(main())")
    assert every_block("python/wse_client/README.md") == [first]
    assert block("README.md", "from wse_client") == first


def test_the_follower_prints_positions(serving: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    server = serving()
    server.server.broadcast("prices", '{"t":"before"}')

    async def scenario() -> None:
        import asyncio  # noqa: PLC0415

        follow = function(block("docs/how-to/client.md", "async def follow("), "follow")
        following = asyncio.create_task(follow(server.url))
        await asyncio.to_thread(
            wait_until, lambda: server.server.get_topic_subscriber_count("prices") == 1, "it has subscribed"
        )
        server.server.broadcast("prices", '{"t":"closing","p":1}')
        await following

    run(scenario())
    assert re.fullmatch(r"[0-9a-f]{8}:2 1\n", capsys.readouterr().out)


def test_the_publisher_tells_the_position(serving: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    run(function(block("docs/how-to/client.md", "async def say("), "say")(serving().url))
    assert re.fullmatch(r"published as [0-9a-f]{8}:1\n", capsys.readouterr().out)


def test_the_token_is_fetched(serving: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    run(function(block("docs/how-to/client.md", "async def with_tokens("), "with_tokens")(serving().url))
    assert "Connected(" in capsys.readouterr().out


def test_the_wheel_holds_the_package_and_needs_websockets_only(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=repository / "python" / "wse_client",
        capture_output=True,
        text=True,
        check=False,
        timeout=support.PATIENCE * 3,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"wse_client-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (
            archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")
        )
    package = repository / "python" / "wse_client"
    assert files == {f"wse_client/{path.name}" for path in [*package.glob("*.py"), package / "py.typed"]}
    required = re.findall(r"(?m)^Requires-Dist: (\S+)(?!.*extra ==).*$", metadata)
    assert [re.match(r"[a-z]+", name)[0] for name in required] == ["websockets"]  # type: ignore[index]
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import wse_client; print(wse_client.__file__)"
    where = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(wheel))
