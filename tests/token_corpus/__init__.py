"""Tokens that a server accepts or refuses, each with the answer and, where PyJWT is milder, the reason.

`CORPUS` holds them for every algorithm. They are made when their test runs, because their dates are relative.
"""

from __future__ import annotations

from token_corpus import claims, confusion, dates, form, header, signature
from token_corpus.case import Case
from token_corpus.mint import ALGORITHMS, Algorithm, Keys, Mint, keys

CASES = [
    *form.CASES,
    *header.CASES,
    *signature.CASES,
    *confusion.CASES,
    *dates.CASES,
    *claims.CASES,
]

CORPUS = [
    (algorithm, case)
    for algorithm in ALGORITHMS
    for case in CASES
    if case.algorithm is None or case.algorithm == algorithm
]

__all__ = ["ALGORITHMS", "CORPUS", "Algorithm", "Case", "Keys", "Mint", "keys"]
