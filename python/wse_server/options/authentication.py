"""The options of the group Authentication.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="jwt_secret",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and "
            "EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The key that tokens are checked with; None switches authentication off.",
        advice=(
            "For HS256 it is the secret shared with whoever issues the tokens, at least 32 bytes from a good "
            "random source (`openssl rand -base64 48`): who knows it can be anybody. For RS256, ES256 and "
            "EdDSA it is the issuer's public key in PEM. Text is taken as UTF-8. The server never prints or "
            "logs it. With None every client is admitted, so the other options about tokens are refused "
            "without a key: a forgotten environment variable must not open the door."
        ),
    ),
    Option(
        name="jwt_algorithm",
        kind="choice",
        default="HS256",
        unit="algorithm",
        allowed="'HS256', 'RS256', 'ES256' or 'EdDSA'",
        minimum=None,
        maximum=None,
        choices=("HS256", "RS256", "ES256", "EdDSA"),
        nullable=False,
        for_now=None,
        group="Authentication",
        summary="The one signature algorithm that is accepted.",
        advice=(
            "The server fixes it; what a token claims about itself is never believed. HS256 is right when "
            "the same people run issuer and server. Take ES256 or EdDSA (RS256 where the issuer leaves no "
            "choice) when the server should be able to check tokens but not to make them."
        ),
    ),
    Option(
        name="jwt_issuer",
        kind="text",
        default=None,
        unit="issuer",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `iss` that a token must carry; None does not look at it.",
        advice=(
            "Set it when more than one issuer signs with the same key. A token without `iss` is then refused "
            "as well. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_audience",
        kind="text",
        default=None,
        unit="audience",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `aud` that a token must carry; None does not look at it.",
        advice=(
            "Set it when one issuer serves several applications, so that a token made for another one opens "
            "nothing here. In the token `aud` may be a string or a list that contains it; a token without "
            "`aud` is refused. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_cookie_name",
        kind="text",
        default="access_token",
        unit="cookie",
        allowed="a cookie name (letters, digits and !#$%&'*+-.^_`|~), or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The cookie that is looked up first for a token; None looks at no cookie.",
        advice=(
            "The cookie comes first, then `Authorization: Bearer`, then the subprotocol pair; the first one "
            "present decides. A browser sends cookies from any page, so use a cookie together with "
            "`allowed_origins`."
        ),
    ),
    Option(
        name="jwt_previous_secret",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and "
            "EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="A second key that is accepted while keys are rotated.",
        advice=(
            "To change the key without cutting anybody: put the new one into `jwt_secret` and the old one "
            "here, by a restart or by `set_jwt_keys` while the server runs, let the issuer sign with the new "
            "one, and remove the old one when its last token has expired. It follows the rules of "
            "`jwt_secret` and needs it."
        ),
    ),
    Option(
        name="jwt_key_id",
        kind="text",
        default=None,
        unit="key id",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `kid` that a token's header must carry; None does not look at it.",
        advice=(
            "With it a token that has another `kid`, or none, is refused. `mint_token` writes it into the "
            "tokens it makes. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_private_key",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (a PEM private key that belongs to jwt_algorithm RS256, ES256 or EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The private key with which `mint_token` signs under RS256, ES256 or EdDSA.",
        advice=(
            "Give it only to a server that issues tokens itself; checking them takes no more than the public "
            "key in `jwt_secret`, which is needed too. HS256 signs with `jwt_secret`, and a private key "
            "beside it is refused as a mistake. RSA keys are PKCS #1 or PKCS #8, the others PKCS #8 "
            "(`openssl pkcs8 -topk8 -nocrypt`)."
        ),
    ),
    Option(
        name="jwks",
        kind="text",
        default=None,
        unit="file or URL",
        allowed="the path of a file, a URL that begins with https:// or http://, or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="A file or URL of the issuer's public keys (a JWK Set), in place of `jwt_secret`.",
        advice=(
            "For issuers that change their keys by themselves: the key of a token is found by its `kid`. The "
            "set is read when the server starts, every five minutes, and when a token names a key that is "
            "not in it, then at most once in five seconds; a reading that fails leaves the keys as they are. "
            "`jwt_algorithm` must say RS256, ES256 or EdDSA; keys for anything else are passed over. Use "
            "http:// only where nobody can stand between: who answers it decides who is let in."
        ),
    ),
)
"""In the order of the reference."""
