"""What the header may say: little, because the server decides."""

from __future__ import annotations

from token_corpus.case import DUPLICATE, Case, bad, good, header, header_text
from token_corpus.mint import Mint

CRIT = "RFC 7515 section 4.1.11: an extension that is not understood refuses, and there is none that is"
B64 = "RFC 7797 section 7: a JWT must not have an unencoded payload, so b64 is true or absent"

ALGS: list[object] = [
    "none",
    "None",
    "nOnE",
    "",
    "HS512",
    "PS256",
    "ES384",
    "Ed25519",
    256,
    None,
    True,
    ["HS256"],
    {},
]
CRITS: list[object] = [[], None, "exp", {}, True]


def lower_case_alg(mint: Mint) -> str:
    return mint.token(mint.header(alg=mint.keys.algorithm.lower()))


CASES: list[Case] = [
    *(bad(f"alg {alg!r}", header(alg=alg)) for alg in ALGS),
    bad(
        "alg none without a signature",
        lambda mint: mint.token(mint.header(alg="none")).rsplit(".", 1)[0] + ".",
    ),
    bad("alg in lower case", lower_case_alg),
    bad("alg missing", header_text('{"typ":"JWT"}')),
    bad("alg twice", header_text('{"alg":"none","alg":"ALG"}'), DUPLICATE),
    bad("alg twice, once in escapes", header_text(r'{"alg":"none","\u0061lg":"ALG"}'), DUPLICATE),
    *(good(f"typ {typ!r}", header(typ=typ)) for typ in ["jwt", "at+jwt", "", 7]),
    good("names nobody asked for", header(x5u="https://example.com", jwk={"kty": "oct", "k": "AA"})),
    bad("crit of an extension", header(crit=["exp"], exp=1)),
    bad("crit of b64", header(crit=["b64"], b64=True), CRIT),
    *(bad(f"crit {crit!r}", header(crit=crit)) for crit in CRITS),
    bad("b64 false", header(b64=False)),
    bad("b64 null", header(b64=None), B64),
    good("b64 true", header(b64=True)),
    good("any kid", header(kid="2026")),
    *(bad(f"kid {kid!r}", header(kid=kid)) for kid in [2026, None, ["2026"]]),
    good("the kid", header(kid="2026"), key_id="2026"),
    *(
        bad(f"kid {kid!r} for '2026'", header(kid=kid), key_id="2026")
        for kid in ["2025", "", "2026 ", 2026, None]
    ),
    bad("no kid", header(), key_id="2026"),
    bad("kid twice", header_text('{"alg":"ALG","kid":"x","kid":"2026"}'), DUPLICATE, key_id="2026"),
]
