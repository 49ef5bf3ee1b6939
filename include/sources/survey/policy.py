"""
The privacy policy, applied to answers batch by batch: what it does not let through is gone before
anything is stored.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import PrivacyError
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN
from include.sources.survey.generalise import generalise
from include.sources.survey.pseudonyms import pseudonym_digest, pseudonyms
from include.sources.times import UTC_TIMESTAMP
from include.workflow import SurveySource
from include.workflow.durations import describe_duration
from include.workflow.partitions import PartitionWindow

NO_CONSENT = "privacy: no consent"
ERASED = "privacy: the respondent was erased"
_NONE = pa.scalar(None, pa.string())


def check_columns(source: SurveySource, names: list[str]) -> None:
    """
    Hold the columns that came against those that the policy names.

    Raises
    ------
    PrivacyError
        If one is missing, or none of the policy's. It names columns only.

    """
    privacy = source.privacy
    consent = () if privacy.consent is None else (privacy.consent.column,)
    named = {*privacy.identifiers, *privacy.quasi_identifiers, *privacy.kept, *privacy.free_text, *consent}
    named |= {source.event_time, source.known_time, *source.key} - privacy.pseudonym.keys()
    missing = sorted(named.difference(names))
    if missing:
        raise PrivacyError(
            f"the survey has no column {_listed(missing)}, which its declaration names: correct one of the two"
        )
    unknown = sorted(set(names) - named - {ERROR_COLUMN, NAME_COLUMN})
    if unknown:
        raise PrivacyError(
            f"the survey has the column {_listed(unknown)}, of which its privacy policy says nothing: nothing of it "
            "was stored; name it in identifiers, quasi_identifiers, sensitive, free_text or keep"
        )
    taken = sorted(privacy.pseudonym.keys() & set(names))
    if taken:
        raise PrivacyError(f"the survey has a column {_listed(taken)} of its own: give the pseudonym another name")


class Treatment:
    """
    What the policy does to each batch of one partition.

    Parameters
    ----------
    source : SurveySource
        The declaration.
    workflow : str
        Its name; pseudonyms of two workflows have nothing in common.
    window : PartitionWindow
        The partition.
    key : bytes
        The secret of the pseudonyms.
    erased : frozenset of str
        Digests of the pseudonyms of respondents who were erased.
    now : datetime
        Rows older than the retention, as of now, are not let in again.

    """

    def __init__(
        self,
        source: SurveySource,
        *,
        workflow: str,
        window: PartitionWindow,
        key: bytes,
        erased: frozenset[str],
        now: datetime,
    ) -> None:
        self._source, self._privacy, self._workflow = source, source.privacy, workflow
        self._window, self._key, self._erased, self._now = window, key, erased, now

    def apply(self, batch: pa.RecordBatch) -> pa.Table:
        """
        Return a batch as the policy lets it through; the row count stays.

        A row that it does not let through keeps nothing but the day of its times, and says why in `source_error`.
        """
        columns = {name: _plain(batch.column(name)) for name in batch.schema.names}
        made = {new: self._pseudonyms(new, columns[old]) for new, old in self._privacy.pseudonym.items()}
        general = {name: generalise(columns[name], how) for name, how in self._privacy.quasi_identifiers.items()}
        error = reduce(pc.coalesce, self._errors(columns, made=made, general=general))
        is_refused = error.is_valid()
        out = made | {
            name: general.get(name, columns[name]) for name in columns if name in general or name in self._kept
        }
        out = {name: pc.if_else(is_refused, pa.scalar(None, column.type), column) for name, column in out.items()}
        out |= self._times(columns, is_refused=is_refused)
        about = {NAME_COLUMN: columns[NAME_COLUMN]} if NAME_COLUMN in columns else {}
        return pa.table({**out, **about, ERROR_COLUMN: error})

    @property
    def _kept(self) -> set[str]:
        return {*self._privacy.kept, *self._source.key} - {self._source.event_time, self._source.known_time}

    def _pseudonyms(self, column: str, identifiers: pa.Array) -> pa.Array:
        return pseudonyms(identifiers, workflow=self._workflow, column=column, key=self._key)

    def _errors(
        self, columns: dict[str, pa.Array], *, made: dict[str, pa.Array], general: dict[str, pa.Array]
    ) -> list[pa.Array]:
        """Reasons to refuse a row, the first one counts."""
        privacy = self._privacy
        n_rows = len(columns[self._source.event_time])
        errors = [columns[ERROR_COLUMN].cast(pa.string()) if ERROR_COLUMN in columns else pa.nulls(n_rows, pa.string())]
        if privacy.consent is not None:
            errors.append(
                _where(pc.invert(_is_accepted(columns[privacy.consent.column], privacy.consent.accepted)), NO_CONSENT)
            )
        times = columns[self._source.event_time]
        if pa.types.is_timestamp(times.type) or pa.types.is_date(times.type):
            is_old = pc.less(times.cast(UTC_TIMESTAMP), pa.scalar(self._now - privacy.retention, UTC_TIMESTAMP))
            errors.append(
                _where(is_old, f"privacy: older than the retention of {describe_duration(privacy.retention)}")
            )
        for new, old in privacy.pseudonym.items():
            errors.append(_where(made[new].is_null(), f"privacy: {old}: is missing or too short to tell a respondent"))
        if self._erased and privacy.respondent is not None:
            errors.append(_where(self._is_erased(made[privacy.respondent]), ERASED))
        for name, column in general.items():
            is_lost = pc.and_(_is_given(columns[name]), column.is_null())
            errors.append(_where(is_lost, f"privacy: {name}: is no value that the policy can generalise"))
        return errors

    def _is_erased(self, respondents: pa.Array) -> pa.Array:
        known = {
            text: text is not None and pseudonym_digest(text) in self._erased for text in set(respondents.to_pylist())
        }
        return pa.array([known[text] for text in respondents.to_pylist()], pa.bool_())

    def _times(self, columns: dict[str, pa.Array], *, is_refused: pa.Array) -> dict[str, pa.Array]:
        """
        Times to the day where they must be: the event's day begins, and what became known was known by
        the day's end.
        """
        names = self._source.event_time, self._source.known_time
        event, known = (columns[name] for name in names)
        coarse = _start_of_day(event, not_before=self._window.start), _end_of_day(known)
        is_coarse = pa.array([True] * len(event), pa.bool_()) if self._privacy.times == "day" else is_refused
        return {name: pc.if_else(is_coarse, day, columns[name]) for name, day in zip(names, coarse, strict=True)}


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_given(column: pa.Array) -> pa.Array:
    """Whether there is a value: a blank text is none."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False)
    return column.is_valid()


def _is_accepted(column: pa.Array, accepted: tuple[str, ...]) -> pa.Array:
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    return pc.is_in(texts, value_set=pa.array([answer.strip().lower() for answer in accepted]))


def _where(condition: pa.Array, reason: str) -> pa.Array:
    return pc.if_else(pc.fill_null(condition, False), reason, _NONE)


def _start_of_day(times: pa.Array, *, not_before: datetime) -> pa.Array:
    if not pa.types.is_timestamp(times.type):
        return _no_time(times)
    days = pc.floor_temporal(times, unit="day")
    # A partition may be shorter than a day: its rows have to stay in it.
    first = pa.scalar(not_before, UTC_TIMESTAMP).cast(times.type)
    return pc.if_else(pc.less(days, first), first, days)


def _end_of_day(times: pa.Array) -> pa.Array:
    return pc.ceil_temporal(times, unit="day") if pa.types.is_timestamp(times.type) else _no_time(times)


def _no_time(times: pa.Array) -> pa.Array:
    return times if pa.types.is_date(times.type) else pa.nulls(len(times), times.type)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")
