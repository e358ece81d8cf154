"""``Language``: translate texts, and format numbers, times and lists for a language.

The catalogues in ``locale/`` are gettext files, which Babel compiles when a language is first used, so there is no build step. It
must not know requests or pages.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_skeleton, format_timedelta
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_decimal, format_percent
from babel.units import format_unit

from tornado_sessions.messages import Message, Value
from tornado_sessions.query import Count
from tornado_sessions.server.display import in_calendar

__all__ = ["CODES", "DOMAIN", "FOLDER", "Language", "language", "preferred"]

DOMAIN = "tornado_sessions"
FOLDER = Path(__file__).parent / "locale"
#: The languages of the pages. The texts in the source are English, so English has no catalogue.
CODES = ("en_US", "zh")
#: Relative times below this number of seconds are written as "just now".
_NOW = 10
#: From this fraction of a unit, a relative time uses that unit: "1 hour ago" instead of "59 minutes ago".
_NEXT_UNIT = 0.97
#: Units that are always abbreviated.
_ABBREVIATED = ("duration-millisecond",)
#: Units of durations and their lengths in seconds.
_UNITS = (("duration-day", 86400), ("duration-hour", 3600), ("duration-minute", 60), ("duration-second", 1))


class Language:
    """One language of the pages.

    Args:
        code: one of ``CODES``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        #: The language tag for HTML and HTTP (BCP 47).
        self.tag = code.replace("_", "-")
        self._locale = Locale.parse(code)
        #: The marks between the words of a sentence.
        self.comma, self.colon = ("，", "：") if code == "zh" else (", ", ": ")
        # Babel has only the short form of Chinese units, which is the usual one.
        self._length: Literal["short", "long"] = "short" if code == "zh" else "long"

    @cached_property
    def _catalogue(self) -> gettext.NullTranslations:
        path = FOLDER / self.code / "LC_MESSAGES" / f"{DOMAIN}.po"
        if not path.exists():
            return gettext.NullTranslations()
        compiled = BytesIO()
        with path.open("rb") as file:
            write_mo(compiled, read_po(file, locale=self.code))
        return gettext.GNUTranslations(BytesIO(compiled.getvalue()))

    def translate(self, text: str) -> str:
        """Return the translation of a text, or the text itself if the catalogue does not contain it."""
        # In gettext, the entry for the empty text is the catalogue's header.
        return self._catalogue.gettext(text) if text else ""

    def plural(self, one: str, many: str, number: int | Count, *values: Value, more: str = "") -> str:
        """Translate a text with a plural, and insert the number and the values.

        Args:
            one: the English singular.
            many: the English plural.
            number: selects the text and replaces its first placeholder.
            values: replace the other placeholders.
            more: a translated text for a count that stopped at a bound.
        """
        total, is_bound = (number, False) if isinstance(number, int) else (number.total, not number.exact)
        text = more if more and is_bound else self._catalogue.ngettext(one, many, total)
        # A text may omit the number: "the field below", "the 3 fields below".
        return text % tuple(map(self._written, (total, *values)))[: text.count("%s")]

    def say(self, message: Message | str) -> str:
        """Translate a message and insert its values."""
        if isinstance(message, str):
            return self.translate(message)
        text, values, many = message
        if many and isinstance(values[0], int):
            return self.plural(text, many, values[0], *values[1:])
        translated = self.translate(text)
        return translated % tuple(map(self._written, values)) if values else translated

    def _written(self, value: Value) -> str:
        if isinstance(value, datetime):
            return self.moment(value.timestamp())
        return self.number(value) if isinstance(value, int) else value

    def number(self, number: float | Count) -> str:
        """Format a number. A count that stopped at a bound is marked as a minimum ("1,000+")."""
        if isinstance(number, Count):
            total = self.number(number.total)
            return total if number.exact else self.translate("%s+") % total
        return self._decimal(number)

    @lru_cache(1024)  # noqa: B019 - languages live forever; a chart and its table write the same few numbers at each draw
    def _decimal(self, number: float) -> str:
        return str(format_decimal(number, locale=self._locale))

    def compact(self, number: float) -> str:
        """Format a number for an axis: 12K, in Chinese 1.2万."""
        return str(format_compact_decimal(round(number, 2), locale=self._locale, fraction_digits=2))

    def percent(self, share: float) -> str:
        """Format a share of one as a percentage with at most one decimal."""
        return str(format_percent(share, "#,##0.#%", locale=self._locale))

    def minute(self, at: float) -> str:
        """Format a time in UTC seconds as hour and minute, without the time zone."""
        return f"{in_calendar(at):%H:%M}"

    def weekday(self, at: float) -> str:
        """Format a time in UTC seconds as weekday and day of the month."""
        return str(format_skeleton("Ed", in_calendar(at), locale=self._locale))

    @lru_cache(1024)  # noqa: B019 - languages live forever; charts name the same times at each draw, each of them five times
    def weekday_minute(self, at: float) -> str:
        """Format a time in UTC seconds as weekday, hour and minute, without the time zone."""
        return str(format_skeleton("EHm", in_calendar(at), locale=self._locale))

    def moment(self, at: float) -> str:
        """Format a time in UTC seconds as date and time."""
        moment = in_calendar(at)
        return self._utc(self._day(moment.date()).format(f"{moment:%H:%M:%S}"))

    @lru_cache(64)  # noqa: B019 - languages live forever; lists show many times of few days, and formatting a date is slow
    def _day(self, day: date) -> str:
        """Return a formatted date with a placeholder for the time."""
        return str(self._locale.datetime_formats["medium"]).format("{}", format_date(day, locale=self._locale))

    def clock(self, at: float) -> str:
        """Format a time in UTC seconds as the time of day."""
        return self._utc(f"{in_calendar(at):%H:%M:%S}")

    def _utc(self, time: str) -> str:
        return self.translate("%s UTC") % time

    def distance(self, seconds: float) -> str:
        """Format a relative time in seconds: negative in the past ("1 hour ago"), positive in the future."""
        return self.translate("just now") if abs(seconds) < _NOW else self._distance(round(seconds))

    @lru_cache(4096)  # noqa: B019 - languages live forever, and there are only as many as codes
    def _distance(self, seconds: int) -> str:
        delta = timedelta(seconds=seconds)
        written = format_timedelta(
            delta, threshold=_NEXT_UNIT, add_direction=True, format=self._length, locale=self._locale
        )
        return str(written)

    def duration(self, seconds: float) -> str:
        """Format a duration in the largest unit without a remainder: 90 seconds, 30 minutes, 12 hours."""
        unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0 or size == 1)
        return self.measure(round(seconds / size, 3), unit)

    @lru_cache(1024)  # noqa: B019 - languages live forever; forms offer the same durations on each page
    def measure(self, value: float, unit: str) -> str:
        """Format a value with a CLDR unit such as ``duration-minute``, ``duration-millisecond`` or ``digital-byte``."""
        length: Literal["short", "long"] = "short" if unit in _ABBREVIATED else self._length
        return str(format_unit(value, unit, length, locale=self._locale))

    def joined(self, texts: Iterable[str]) -> str:
        """Join texts into a list with commas and "and"."""
        return str(format_list(list(texts), locale=self._locale)) if texts else ""

    def sentences(self, *texts: str) -> str:
        """Join sentences, in Chinese without spaces. Empty ones are omitted."""
        return ("" if self.code == "zh" else " ").join(filter(None, texts))

    def device(self, device: str) -> str:
        """Translate the result of ``display.device``."""
        browser, on, system = device.rpartition(" on ")
        return self.translate("%s on %s") % (browser, system) if on else device


@lru_cache
def language(code: str) -> Language:
    """Return the language of one of the ``CODES``. Cached, so that its catalogue is read once."""
    return Language(code)


def preferred(accept_language: str) -> Language:
    """Return the language that an ``Accept-Language`` header prefers (RFC 9110, 12.5.4); English if none is available."""
    ranked = sorted(map(_ranked, accept_language.split(",")), reverse=True, key=lambda item: item[0])
    tags = [tag for quality, tag in ranked if quality > 0]
    return language("zh" if negotiate_locale(tags, ["en", "zh"], sep="-") == "zh" else "en_US")


def _ranked(part: str) -> tuple[float, str]:
    tag, _, quality = part.partition(";")
    try:
        return (float(quality.strip().removeprefix("q=")) if quality else 1.0, tag.strip())
    except ValueError:
        return (0.0, tag)
