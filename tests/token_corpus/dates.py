"""`exp`, which has to be there, and `nbf`, which need not; both with 30 seconds of leeway."""

from __future__ import annotations

from token_corpus.case import DUPLICATE, Case, bad, claims, claims_text, good
from token_corpus.mint import Later, Mint

LEEWAY = 30
YEAR_9999 = 253_402_300_799

TYPE = "RFC 7519 section 2: a date is a JSON number; text and booleans are a mistake of the issuer"
RANGE = "a date before 1970 or past the year 9999 is a mistake, milliseconds as a rule, and might never end"

NO_DATES: list[object] = [None, "", "soon", [], {}]


def in_milliseconds(mint: Mint) -> str:
    return mint.token(claims=mint.claims(exp=(mint.now + 60) * 1000))


def as_text(mint: Mint) -> str:
    return mint.token(claims=mint.claims(exp=str(mint.now + 60)))


CASES: list[Case] = [
    bad("exp missing", claims_text('{"sub":"u"}')),
    *(bad(f"exp {exp!r}", claims(exp=exp)) for exp in [*NO_DATES, 0, 1, -1, -1.5, False, True]),
    bad("exp as text", as_text, TYPE),
    bad("exp in milliseconds", in_milliseconds, RANGE),
    bad("exp 10**300", claims(exp=10**300), RANGE),
    bad("exp 1e300", claims(exp=1e300), RANGE),
    bad("exp in the year 10000", claims(exp=YEAR_9999 + 1), RANGE),
    good("exp in the year 9999", claims(exp=YEAR_9999)),
    *(bad(f"exp {exp}", claims_text(f'{{"sub":"u","exp":{exp}}}')) for exp in ["1e999", "NaN", "Infinity"]),
    bad("exp with a leading zero", claims_text('{"sub":"u","exp":0EXP}')),
    bad("exp in hexadecimal", claims_text('{"sub":"u","exp":0xFFFFFFFF}')),
    good("exp with a fraction", claims(exp=Later(60.5))),
    good("exp with an exponent", claims_text('{"sub":"u","exp":2.5e11}')),
    good("exp within the leeway", claims(exp=Later(10 - LEEWAY))),
    bad("exp beyond the leeway", claims(exp=Later(-1 - LEEWAY))),
    bad("exp yesterday", claims(exp=Later(-86400))),
    bad("exp twice", claims_text('{"sub":"u","exp":1,"exp":EXP}'), DUPLICATE),
    good("nbf past", claims(nbf=Later(-60))),
    good("nbf zero", claims(nbf=0)),
    good("nbf with a fraction", claims(nbf=Later(0.5))),
    good("nbf within the leeway", claims(nbf=Later(LEEWAY - 10))),
    bad("nbf beyond the leeway", claims(nbf=Later(LEEWAY + 20))),
    bad("nbf in the year 9999", claims(nbf=YEAR_9999)),
    bad("nbf 1e300", claims(nbf=1e300)),
    *(bad(f"nbf {nbf!r}", claims(nbf=nbf)) for nbf in NO_DATES),
    *(bad(f"nbf {nbf!r}", claims(nbf=nbf), TYPE) for nbf in ["0", False, True]),
    bad("nbf negative", claims(nbf=-1), RANGE),
    good("iat ahead, which is for information", claims(iat=Later(1000))),
    good("iat of another type", claims(iat="yesterday")),
]
