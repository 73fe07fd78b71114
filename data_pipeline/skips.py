"""Draws that cannot become a sample: what they are called, counted, and when they are too many."""

import collections
import logging

SHOWN_SOURCES = 20  # sources a message lists, and sources an epoch that are logged one by one
SPARE_SKIPS = 10  # skips that never stop a run, however short its epochs are
EMPTY_CROP = "empty crop"  # jitter moved the crop off the frame: counted, but no fault of the data

_LOG = logging.getLogger(__name__)


class SkippedDraw(ValueError):
    """A draw that cannot become a sample and is replaced by another one.

    Attributes: cause, what it is counted under; source, what to look at, such as a frame's path.
    """

    def __init__(self, cause: str, source: str, message: str) -> None:
        super().__init__(message)
        self.cause, self.source = cause, source

    def record(self) -> tuple[str, str, str]:
        """(cause, source, message): what travels from a worker process to the main one."""
        return self.cause, self.source, str(self)


class SkipLedger:
    """Counts skipped draws per cause, one epoch at a time, and says when they are too many."""

    def __init__(self, limit: int) -> None:
        """Args: limit: faults an epoch that are borne, beside SPARE_SKIPS."""
        self._limit = limit + SPARE_SKIPS
        self.counts: collections.Counter[str] = collections.Counter()
        self._messages: dict[str, str] = {}  # source -> its first message

    def add(self, records: list[tuple[str, str, str]]) -> None:
        """Counts records of SkippedDraw, and logs each source of a fault once.

        Raises: ValueError with counts and sources when an epoch has more faults than the limit.
        """
        for cause, source, message in records:
            self.counts[cause] += 1
            if cause != EMPTY_CROP and source not in self._messages:
                self._messages[source] = message
                if len(self._messages) <= SHOWN_SOURCES:
                    _LOG.warning("skipped a draw (%s): %s", cause, printable(message))
        faults = self.counts - collections.Counter({EMPTY_CROP: self.counts[EMPTY_CROP]})
        if faults.total() > self._limit:
            raise ValueError(
                f"{faults.total()} draws of this epoch were skipped, more than the {self._limit} "
                f"that config.data.max_skip_share allows: {summary(faults)}. "
                f"Repair or leave out: {listing(self._messages.values())}"
            )

    def end_epoch(self, epoch: int, num_samples: int) -> None:
        """Logs the counts of the epoch that ended, and begins anew."""
        if self.counts:
            _LOG.warning(
                "epoch %d: %d of its draws were skipped and replaced to make %d samples: %s",
                *(epoch, self.counts.total(), num_samples, summary(self.counts)),
            )
        self.restore({})

    def restore(self, counts: dict[str, int]) -> None:
        """Goes on from these counts of the current epoch."""
        self.counts = collections.Counter(counts)
        self._messages = {}


def summary(counts: collections.Counter[str]) -> str:
    """Counts in words, the largest first: `empty 3, damaged box 1`."""
    return ", ".join(f"{cause} {count}" for cause, count in counts.most_common())


def listing(messages: collections.abc.Iterable[str]) -> str:
    """The first messages, each numbered, and how many more there are."""
    messages = list(messages)
    shown = messages[:SHOWN_SOURCES]
    text = " ".join(f"({number}) {message}" for number, message in enumerate(shown, start=1))
    more = len(messages) - len(shown)
    return printable(text + (f" and {more} more." if more else ""))


def printable(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
