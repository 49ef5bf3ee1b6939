"""
Every error that Updraft raises on purpose. Each class says whether a retry helps.

UpdraftError
  DeclarationError                 the workflow's text is wrong: never retry
  SettingsError                    an environment variable is wrong: never retry
  PartitionError                   the run names no partition, or a malformed one: never retry
  SourceError
    SourceUnavailableError         passes by itself: retry
    SourceQueryError               the query, table, column or permission is wrong: never retry
      UnsafeAddressError           a page's address leads where no crawl may go: never retry
      LayoutChangedError           a page no longer holds what its selectors look for: never retry
      UnreadableFileError          a file is truncated, damaged or hostile: never retry
    ImageFolderError               a folder of images is missing, closed, or over a declared limit: never retry
  LakeError
    TableNotFoundError             never retry: an earlier task has to write it
    PartitionNotFoundError         never retry: an earlier task has to write it
    StaleWriterError               a newer try has written: never retry
    ConcurrentWriteError           another writer won the commit: retry
    CorruptDataError               bytes differ from their digest: never retry
  DataError                        same input, same failure: never retry
    SuiteError                     the expectation suite itself is unusable
    ContractViolationError         the partition breaks a table rule, and is not published
    PrivacyError                   a survey does not fit its privacy policy, or an erasure found traces: never retry
  TrainingError                    never retry
    HistoryTooShortError           too few rows or partitions to train on
  RegistryError
    RegistryUnavailableError       passes by itself: retry
    ModelVersionNotFoundError      never retry
    TamperedModelError             stored bytes differ from the recorded digest: never retry
    EvidenceError                  no decision record backs this promotion: never retry
    ReproductionError              a version can't be rebuilt, or comes out differently: never retry
    StalePromotionError            the champion is newer, or another promotion won: never retry
  DeploymentError
    EndpointUnavailableError       passes by itself: retry
    SmokeTestError                 the staged model answers wrongly: never retry
    CanaryError                    the new model misbehaved with real traffic, and was withdrawn: never retry
  AlertError
    ChannelError                   a channel's connection is missing or wrong: mend it
    DeliveryError                  a channel did not take a message: retry
  RequestError                     a prediction request is malformed (carries the HTTP status)

A message names the thing, the value and the remedy; it never holds a secret or a row's values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class UpdraftError(Exception):
    """Base of all errors raised on purpose. `is_retryable` tells whether the same call may succeed later."""

    is_retryable = False


class DeclarationError(UpdraftError):
    """Raised when a workflow's declaration is wrong. A retry would read the same text."""


class SettingsError(UpdraftError):
    """Raised when a setting (environment variable) is missing or malformed."""


class PartitionError(UpdraftError):
    """Raised when a run names no partition, or one that does not fit the workflow's partitioning."""


class SourceError(UpdraftError):
    """Base of what can go wrong at a data source."""


class SourceUnavailableError(SourceError):
    """Raised when a source does not answer. It passes by itself: retry."""

    is_retryable = True


class SourceQueryError(SourceError):
    """Raised when a source refuses the query: a missing table, column or permission, or a syntax error."""


class UnreadableFileError(SourceQueryError):
    """Raised when a file is truncated, damaged or hostile. The same bytes give the same failure."""

    def __init__(self, file: str, reason: str, *, byte_offset: int | None = None) -> None:
        place = "" if byte_offset is None else f" at byte {byte_offset}"
        super().__init__(
            f"{file}{place}: {reason}; send the file again, or declare on_unreadable='dead_letter' to go on without it"
        )
        self.file, self.reason, self.byte_offset = file, reason, byte_offset


class UnsafeAddressError(SourceQueryError):
    """Raised when an address, or what its name resolves to, lies where a crawl may not go; nothing was sent there."""


class LayoutChangedError(SourceQueryError):
    """
    Raised when a selector or parser finds nothing where it has to: the page was rebuilt, and zero rows
    would be a lie.
    """


class ImageFolderError(SourceError):
    """Raised when a folder of images is not there, may not be listed, or holds more files than declared."""


class LakeError(UpdraftError):
    """Base of what can go wrong in the lake."""


class TableNotFoundError(LakeError):
    """Raised when a table does not exist yet."""


class PartitionNotFoundError(LakeError):
    """Raised when a table holds no such partition."""


class StaleWriterError(LakeError):
    """Raised when a newer try has already written the partition. A retry of this try would be stale too."""


class ConcurrentWriteError(LakeError):
    """Raised when another writer won the commit. Retry: the next attempt sees the winner's state."""

    is_retryable = True


class CorruptDataError(LakeError):
    """Raised when bytes differ from their recorded digest."""


class DataError(UpdraftError):
    """Raised when the data itself is unusable. The same input gives the same failure."""


class SuiteError(DataError):
    """Raised when an expectation suite is missing, malformed or empty."""


class ContractViolationError(DataError):
    """
    Raised when a partition breaks a table rule; nothing of it is published.

    What an alert tells besides the message: `counts`, the most frequent `reasons` with their number of rows, and masked
    `samples`. `page` is the path of the Data Docs page, empty if there is none: the text ends with it, the `message`
    does not.
    """

    def __init__(
        self,
        message: str,
        *,
        counts: Mapping[str, int] | None = None,
        reasons: Sequence[tuple[str, int]] = (),
        samples: Sequence[Mapping[str, str]] = (),
        page: str = "",
    ) -> None:
        super().__init__(f"{message}\n  see {page}" if page else message)
        self.message, self.page = message, page
        self.counts, self.reasons, self.samples = dict(counts or {}), tuple(reasons), tuple(samples)


class PrivacyError(DataError):
    """Raised when a survey does not fit its privacy policy, or an erased respondent is still found somewhere."""


class TrainingError(UpdraftError):
    """Raised when a model cannot be trained from the snapshot."""


class HistoryTooShortError(TrainingError):
    """Raised when the training window holds too few partitions or rows."""


class RegistryError(UpdraftError):
    """Base of what can go wrong in the model registry."""


class RegistryUnavailableError(RegistryError):
    """Raised when the registry does not answer. It passes by itself: retry."""

    is_retryable = True


class ModelVersionNotFoundError(RegistryError):
    """Raised when a model has no such version or alias."""


class TamperedModelError(RegistryError):
    """Raised when a stored model's bytes differ from the recorded digest; nothing of it was loaded."""


class EvidenceError(RegistryError):
    """Raised when no matching PROMOTE decision stands behind a promotion."""


class ReproductionError(RegistryError):
    """
    Raised when a version can't be rebuilt from its manifest, or the rebuilt model is another one; the message names
    what differs.
    """


class StalePromotionError(RegistryError):
    """Raised when the champion is newer than the candidate, or another promotion won."""


class DeploymentError(UpdraftError):
    """Base of what can go wrong between the registry and an endpoint."""


class EndpointUnavailableError(DeploymentError):
    """Raised when the endpoint does not answer. It passes by itself: retry."""

    is_retryable = True


class SmokeTestError(DeploymentError):
    """Raised when a staged model does not answer as it did offline."""


class CanaryError(DeploymentError):
    """
    Raised when a new model misbehaves with a share of the traffic. It was withdrawn; the champion answers everything
    again.
    """


class AlertError(UpdraftError):
    """Base of what can go wrong while somebody is told of an incident. No alert ever fails the data path."""


class ChannelError(AlertError):
    """Raised when an alert's channel can't be opened: its connection is missing, or lacks what its type needs."""


class DeliveryError(AlertError):
    """Raised when a channel did not take a message. It may pass by itself: retry."""

    is_retryable = True


class RequestError(UpdraftError):
    """Raised when a prediction request is malformed. `status` is the HTTP status to answer with."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
