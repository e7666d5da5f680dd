"""Who it is (`sub`), from whom (`iss`), for whom (`aud`), and what is not the server's business."""

from __future__ import annotations

from typing import Any

from token_corpus.case import DUPLICATE, NOT_JSON, Case, bad, claims, claims_text, good

EMPTY_SUB = "a user without a name is nobody: presence and the log could not tell him from another"
BIG_NUMBER = "a number beyond a double is one that half of all readers can't read"

BOTH: dict[str, Any] = {"issuer": "my-app", "audience": "my-api"}

SUBJECT = [
    bad("sub missing", claims_text('{"exp":EXP}')),
    *(bad(f"sub {sub!r}", claims(sub=sub)) for sub in [None, 7, 0, True, 1.5, [], ["user-7"], {"id": 7}]),
    bad("sub empty", claims(sub=""), EMPTY_SUB),
    *(good(f"sub {sub!r}", claims(sub=sub)) for sub in [" ", "0", "josé", "漢字", "a\0b"]),
    good("sub of 1000 letters", claims(sub="x" * 1000)),
    bad("sub with a lone surrogate", claims_text(r'{"sub":"\ud800","exp":EXP}'), NOT_JSON),
    bad("sub twice", claims_text('{"sub":"admin","sub":"user-7","exp":EXP}'), DUPLICATE),
]

ISSUERS = ["My-App", "my-app ", "", None, 7, ["my-app"], {"my-app": 1}]

ISSUER = [
    good("iss not asked for", claims(iss="anyone")),
    good("iss not asked for, of another type", claims(iss=7)),
    good("iss", claims(iss="my-app"), issuer="my-app"),
    bad("iss missing", claims(), issuer="my-app"),
    *(bad(f"iss {iss!r}", claims(iss=iss), issuer="my-app") for iss in ISSUERS),
    bad(
        "iss twice", claims_text('{"iss":"x","sub":"u","exp":EXP,"iss":"my-app"}'), DUPLICATE, issuer="my-app"
    ),
]

AUDIENCES = [
    "other",
    "my-api,other",
    "MY-API",
    "",
    None,
    7,
    [],
    ["other"],
    ["my-api", 7],
    [["my-api"]],
    {"my-api": 1},
]

AUDIENCE = [
    good("aud not asked for", claims(aud="anything")),
    good("aud not asked for, of another type", claims(aud=7)),
    good("aud", claims(aud="my-api"), audience="my-api"),
    good("aud in a list", claims(aud=["other", "my-api"]), audience="my-api"),
    good("aud in a list of one", claims(aud=["my-api"]), audience="my-api"),
    bad("aud missing", claims(), audience="my-api"),
    *(bad(f"aud {aud!r}", claims(aud=aud), audience="my-api") for aud in AUDIENCES),
    good("iss and aud", claims(iss="my-app", aud="my-api"), **BOTH),
    bad("iss without aud", claims(iss="my-app"), **BOTH),
    bad("aud without iss", claims(aud="my-api"), **BOTH),
    bad("iss and aud, expired", claims(iss="my-app", aud="my-api", exp=1), **BOTH),
]

OTHERS = [
    good("wse_topics", claims(wse_topics={"allow": ["room.*"]})),
    good("wse_topics null, which the access control refuses", claims(wse_topics=None)),
    good("claims of all kinds", claims(a=[1, 2.5, None, True, {"b": "é"}], role="x", email="u@example.com")),
    good("a large integer", claims(x=2**200)),
    bad("NaN somewhere", claims_text('{"sub":"u","exp":EXP,"x":NaN}'), NOT_JSON),
    bad("1e999 somewhere", claims_text('{"sub":"u","exp":EXP,"x":1e999}'), BIG_NUMBER),
    bad("an unknown claim twice", claims_text('{"sub":"u","exp":EXP,"x":1,"x":2}'), DUPLICATE),
    bad("a name twice inside a claim", claims_text('{"sub":"u","exp":EXP,"x":[{"a":1,"a":2}]}'), DUPLICATE),
]

CASES: list[Case] = [*SUBJECT, *ISSUER, *AUDIENCE, *OTHERS]
