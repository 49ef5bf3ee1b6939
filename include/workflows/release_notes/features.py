"""
From one entry of release notes to its features: words and numbers, never its tags. The same function in training and at
the endpoint.

Any column may be None, and the result always has the same keys.
"""

import re
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r"[a-z_]+")
# What entries of either kind begin with; any other word is "other".
_OPENINGS = frozenset(
    (
        *(
            "add",
            "added",
            "adjusted",
            "allow",
            "an",
            "apply",
            "changed",
            "corrected",
            "deprecated",
            "enhanced",
            "ensure",
            "ensured",
        ),
        *(
            "fix",
            "fixed",
            "fixes",
            "fixing",
            "implemented",
            "improve",
            "improved",
            "improvements",
            "improves",
            "made",
            "modified",
            "new",
        ),
        *("now", "refined", "remove", "removed", "repaired", "reworked", "support", "the", "this", "updated"),
    )
)
# Words whose presence tells something by itself.
_TELLING = (
    *(
        "bug",
        "regression",
        "issue",
        "failure",
        "fail",
        "error",
        "incorrect",
        "incorrectly",
        "caused",
        "not",
        "would",
        "where",
        "which",
    ),
    *(
        "properly",
        "correctly",
        "longer",
        "when",
        "due",
        "raise",
        "raised",
        "exception",
        "memory",
        "leak",
        "race",
        "revised",
    ),
    *(
        "new",
        "support",
        "added",
        "feature",
        "parameter",
        "method",
        "option",
        "allows",
        "default",
        "deprecated",
        "removed",
        "performance",
    ),
    *(
        "api",
        "behavior",
        "change",
        "python",
        "documentation",
        "rewritten",
        "now",
        "also",
        "may",
        "pull",
        "request",
        "courtesy",
    ),
)
_REPAIR = frozenset(("fixed", "fix", "fixes", "fixing", "repaired", "corrected"))


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `pages.parse` in, one mapping of features out."""
    text = row.get("text") or ""
    words = _WORD.findall(text.lower())
    seen = frozenset(words)
    first = words[0] if words else None
    return {
        "section": row.get("section"),
        "opening": None if first is None else first if first in _OPENINGS else "other",
        "has_repair": bool(seen & _REPAIR),
        "begins_with_repair": first in _REPAIR,
        "n_words": len(words),
        "mean_word_length": sum(map(len, words)) / len(words) if words else None,
        "n_sentences": text.count(". ") + 1 if text else 0,
        "n_code": row.get("n_code"),
        "n_references": row.get("n_references"),
        **_version(row.get("release")),
        **{f"says_{word}": word in seen for word in _TELLING},
    }


def _version(release: str | None) -> dict[str, float | bool | None]:
    """Numbers of a release such as 2.0.0b1: a series' first releases bring features, its last ones mend bugs."""
    numbers = [int(number) for number in re.findall(r"\d+", release or "")][:3]
    return {
        "is_prerelease": None if release is None else bool(re.search(r"[a-z]", release)),
        "patch": float(numbers[2]) if len(numbers) == 3 else None,
    }
