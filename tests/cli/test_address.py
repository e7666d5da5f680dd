"""Addresses of servers, as people write them."""

from __future__ import annotations

import pytest

from wse_server.cli.address import local_address, parse_address
from wse_server.cli.errors import CliError, ExitCode


@pytest.mark.parametrize(
    ("text", "http", "websocket"),
    [
        ("localhost", "http://localhost:5007", "ws://localhost:5007/wse"),
        ("localhost:8000", "http://localhost:8000", "ws://localhost:8000/wse"),
        ("[::1]:5007", "http://[::1]:5007", "ws://[::1]:5007/wse"),
        ("http://example.org", "http://example.org", "ws://example.org/wse"),
        ("https://example.org/", "https://example.org", "wss://example.org/wse"),
        (
            "https://example.org:8443/live/",
            "https://example.org:8443/live",
            "wss://example.org:8443/live/wse",
        ),
        ("http://example.org/health", "http://example.org", "ws://example.org/wse"),
        ("wss://example.org", "https://example.org", "wss://example.org/wse"),
        ("wss://example.org/live/wse", "https://example.org/live", "wss://example.org/live/wse"),
        ("ws://example.org:5007/socket", "http://example.org:5007", "ws://example.org:5007/socket"),
        ("HTTP://Example.org", "http://example.org", "ws://example.org/wse"),
    ],
)
def test_an_address_leads_to_both_protocols(text: str, http: str, websocket: str) -> None:
    address = parse_address(text)
    assert (address.http, address.websocket) == (http, websocket)
    assert parse_address(address.http).http == http
    assert parse_address(address.websocket).websocket == websocket


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("ftp://example.org", "ftp:// is not known"),
        ("http://", "names no host"),
        ("localhost:port", "no address"),
        ("localhost:70000", "no address"),
        ("localhost:0", "port 0"),
        ("http://[::1", "no address"),
        ("http://local host", "names no host"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        parse_address(text)
    assert refused.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    ["ws://h/wse?token=hush", "http://u:hush@h", "http://h/#hush", "u:hush@h:5007", "u:hush@h:nowhere"],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CliError) as refused:
        parse_address(text)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "http://127.0.0.1:5007"),
        ({"WSE_PORT": ""}, "http://127.0.0.1:5007"),
        ({"WSE_PORT": "6000"}, "http://127.0.0.1:6000"),
        ({"WSE_PORT": "tcp://10.43.0.7:80"}, "http://127.0.0.1:5007"),
        ({"WSE_HOST": "0.0.0.0"}, "http://127.0.0.1:5007"),
        ({"WSE_HOST": "::"}, "http://[::1]:5007"),
        ({"WSE_HOST": "10.0.0.4", "WSE_PORT": "81"}, "http://10.0.0.4:81"),
    ],
)
def test_the_server_of_this_machine_is_where_its_variables_put_it(
    variables: dict[str, str], expected: str
) -> None:
    assert local_address(variables).http == expected


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "²"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(CliError, match="WSE_PORT"):
        local_address({"WSE_PORT": port})
