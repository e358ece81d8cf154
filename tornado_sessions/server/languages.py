"""``Language``: translate texts, and write numbers, times and lists as readers of a language expect.

The catalogues below ``locale/`` are gettext files; Babel compiles them when a language is first used, so no build step
can be forgotten. It must not know requests or pages.
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
from babel.dates import format_date, format_timedelta
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit

from tornado_sessions.messages import Message, Value
from tornado_sessions.query import Count
from tornado_sessions.server.display import in_calendar

__all__ = ["CODES", "DOMAIN", "FOLDER", "Language", "language", "preferred"]

DOMAIN = "tornado_sessions"
FOLDER = Path(__file__).parent / "locale"
#: The languages of the pages. English is the language of the source, so it has no catalogue.
CODES = ("en_US", "zh")
#: Seconds below which a distance in time is not worth a number.
_NOW = 10
#: From this part of a unit on, a distance is written in that unit: an hour ago, and not 60 minutes ago.
_NEXT_UNIT = 0.97
#: Units that everybody abbreviates.
_ABBREVIATED = ("duration-millisecond",)
#: Units of durations, and the seconds that each has.
_UNITS = (("duration-day", 86400), ("duration-hour", 3600), ("duration-minute", 60), ("duration-second", 1))


class Language:
    """One language of the pages.

    Args:
        code: one of ``CODES``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        #: The language as HTML and HTTP write it (BCP 47).
        self.tag = code.replace("_", "-")
        self._locale = Locale.parse(code)
        # Babel's data has Chinese units in their short form only, and short is the usual form in Chinese.
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
        """Translate a text; one that is in no catalogue stays as it is."""
        # The entry of the empty text is the catalogue's header.
        return self._catalogue.gettext(text) if text else ""

    def plural(self, one: str, many: str, number: int | Count, *values: Value, more: str = "") -> str:
        """Translate a text that depends on a number, and fill in the number and the values.

        Args:
            one: the English text for one.
            many: the English text for every other number.
            number: chooses the text and fills its first placeholder.
            values: fill the others.
            more: the text, translated, for a count that stopped at a bound.
        """
        total, is_bound = (number, False) if isinstance(number, int) else (number.total, not number.exact)
        text = more if more and is_bound else self._catalogue.ngettext(one, many, total)
        # A text may leave the number out: "the field below", "the 3 fields below".
        return text % tuple(map(self._written, (total, *values)))[: text.count("%s")]

    def say(self, message: Message | str) -> str:
        """Translate a message and fill in its values."""
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
        """Write a number; a count that stopped at a bound is shown as at least that many."""
        if isinstance(number, Count):
            total = self.number(number.total)
            return total if number.exact else self.translate("%s+") % total
        return str(format_decimal(number, locale=self._locale))

    def moment(self, at: float) -> str:
        """Write a time, in UTC seconds, to the second."""
        moment = in_calendar(at)
        return self._utc(self._day(moment.date()).format(f"{moment:%H:%M:%S}"))

    @lru_cache(64)  # noqa: B019 - a list shows many times of few days, and formatting a date takes long
    def _day(self, day: date) -> str:
        """Return a date with a place for the time."""
        return str(self._locale.datetime_formats["medium"]).format("{}", format_date(day, locale=self._locale))

    def clock(self, at: float) -> str:
        """Write the time of day of a moment, in UTC seconds."""
        return self._utc(f"{in_calendar(at):%H:%M:%S}")

    def _utc(self, time: str) -> str:
        return self.translate("%s UTC") % time

    def distance(self, seconds: float) -> str:
        """Write how far off a time is: negative seconds have passed, positive ones lie ahead."""
        return self.translate("just now") if abs(seconds) < _NOW else self._distance(round(seconds))

    @lru_cache(4096)  # noqa: B019 - there are as many languages as codes
    def _distance(self, seconds: int) -> str:
        delta = timedelta(seconds=seconds)
        written = format_timedelta(
            delta, threshold=_NEXT_UNIT, add_direction=True, format=self._length, locale=self._locale
        )
        return str(written)

    def duration(self, seconds: float) -> str:
        """Write a duration in the largest unit that has no remainder: 90 seconds, 30 minutes, 12 hours."""
        unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0 or size == 1)
        return self.measure(round(seconds / size, 3), unit)

    def measure(self, value: float, unit: str) -> str:
        """Write a value with its unit, as CLDR names that: ``duration-minute``, ``duration-millisecond``, ``digital-byte``."""
        length: Literal["short", "long"] = "short" if unit in _ABBREVIATED else self._length
        return str(format_unit(value, unit, length, locale=self._locale))

    def joined(self, texts: Iterable[str]) -> str:
        """Write a list, with commas and "and" as the language has them."""
        return str(format_list(list(texts), locale=self._locale)) if texts else ""

    def sentences(self, *texts: str) -> str:
        """Put sentences one after another; Chinese has no space between them."""
        return ("" if self.code == "zh" else " ").join(filter(None, texts))

    def device(self, device: str) -> str:
        """Write a device as ``display.device`` names it."""
        browser, on, system = device.rpartition(" on ")
        return self.translate("%s on %s") % (browser, system) if on else device


@lru_cache
def language(code: str) -> Language:
    """Return the language of one of the ``CODES``; its catalogue is read once."""
    return Language(code)


def preferred(accept_language: str) -> Language:
    """Return the language that an ``Accept-Language`` header prefers (RFC 9110 12.5.4); English where it names none of ours."""
    ranked = sorted(map(_ranked, accept_language.split(",")), reverse=True, key=lambda item: item[0])
    tags = [tag for quality, tag in ranked if quality > 0]
    return language("zh" if negotiate_locale(tags, ["en", "zh"], sep="-") == "zh" else "en_US")


def _ranked(part: str) -> tuple[float, str]:
    tag, _, quality = part.partition(";")
    try:
        return (float(quality.strip().removeprefix("q=")) if quality else 1.0, tag.strip())
    except ValueError:
        return (0.0, tag)
