import pytest

from include.errors import SourceQueryError
from include.sources.bounds import Bounds, Dialect, bind_bounds
from tests.factories import START

BOTH = "e >= :partition_start AND e < :partition_end"


def bind(query: str, dialect: Dialect = "postgresql") -> str:
    bounds = Bounds(start=START, end=START, column="e")
    return bind_bounds(query, dialect, bounds=bounds, parameters=("<S>", "<E>"), name="q.sql").rstrip("\n")


def test_bounds_become_parameters_wherever_they_stand():
    query = "SELECT :partition_start::date, e FROM t WHERE e>=:partition_start AND e<:partition_end;"
    assert bind(query) == "SELECT <S>::date, e FROM t WHERE e>=<S> AND e<<E>"


@pytest.mark.parametrize(
    ("skipped", "dialect"),
    [
        ("':partition_start'", "postgresql"),
        ("'it''s :partition_start'", "postgresql"),
        (r"E'it\'s :partition_start'", "postgresql"),
        ('":partition_start"', "postgresql"),
        ("$$ :partition_start ' $$", "postgresql"),
        ("$tag$ $$ :partition_start $tag$", "postgresql"),
        ("-- :partition_start ' ;\n", "postgresql"),
        ("/* a /* nested */ ; :partition_start */", "postgresql"),
        ("1::integer", "postgresql"),
        ("a[1:2]", "postgresql"),
        ("a[i:n]", "postgresql"),
        (r"'a backslash \' , ':partition_start'", "postgresql"),
        ("`:partition_start`", "sqlite"),
        ("[:partition_start]", "sqlite"),
        ("/* not nested /* :partition_start */", "sqlite"),
        ("x':partition_start'", "sqlite"),
    ],
)
def test_what_is_no_code_stays_as_it_is(skipped, dialect):
    assert (
        bind(f"SELECT {skipped}, 1 FROM t WHERE {BOTH}", dialect)
        == f"SELECT {skipped}, 1 FROM t WHERE e >= <S> AND e < <E>"
    )


@pytest.mark.parametrize("tail", [";", " ; -- done; really", ";\n/* end */\n", "-- :partition_end"])
def test_a_semicolon_and_comments_may_end_the_query(tail):
    bound = bind(f"SELECT 1 WHERE {BOTH}{tail}")
    assert bound.startswith("SELECT 1 WHERE e >= <S> AND e < <E>")
    assert ";" not in bound.partition("--")[0].partition("/*")[0]


@pytest.mark.parametrize("second", ["; DROP TABLE t", "; 'x'", "; -- a\n SELECT 2", '; "t"'])
def test_a_second_statement_is_refused(second):
    with pytest.raises(SourceQueryError, match=r"q\.sql: holds more than one statement"):
        bind(f"SELECT 1 WHERE {BOTH}{second}")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1", "does not name :partition_start and :partition_end"),
        ("SELECT 1 WHERE e >= :partition_start", "does not name :partition_end"),
        ("SELECT 1 WHERE e >= :partition_start -- AND e < :partition_end", "does not name :partition_end"),
        (
            "SELECT 1 WHERE e >= :partition_strat AND e < :partition_end",
            r"does not name :partition_start \(it names :partition_strat\)",
        ),
        (f"SELECT :today WHERE {BOTH}", ":today is unknown"),
    ],
)
def test_a_missing_or_unknown_bound_is_named(query, message):
    with pytest.raises(SourceQueryError, match=message):
        bind(query)
