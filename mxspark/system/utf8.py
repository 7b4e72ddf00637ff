"""A locale in which every name can be said.

Under ``LC_ALL=C``, in containers and in cron jobs, Python takes file names and arguments for UTF-8 all the same (PEP
540), but a JVM takes them for ASCII: between a command line and a driver, which spark-submit's JVM starts, ``größe``
becomes ``gr??e``, and so does every other name of the same length.
"""

from __future__ import annotations

import locale
from collections.abc import Mapping

UTF8 = "C.UTF-8"
"""In glibc itself since 2.35, and in every distribution that is used for clusters since RHEL 8."""
_OTHERS = ("C.utf8", "en_US.UTF-8")
_ORDER = ("LC_ALL", "LC_CTYPE", "LANG")


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a child takes names for UTF-8; none where it does so, or has a locale of its own.

    A locale that is there and means another encoding (``de_DE.ISO-8859-1``) is the user's wish and left alone.
    """
    wanted = next((environ[name] for name in _ORDER if environ.get(name)), "C")
    if wanted not in ("C", "POSIX") and _is_there(wanted):
        return {}
    usable = next((name for name in (UTF8, *_OTHERS) if _is_there(name)), None)
    # LC_ALL is set only where it has to be overridden: LANG goes on to choose the language of messages
    return {} if usable is None else {"LC_ALL" if environ.get("LC_ALL") else "LC_CTYPE": usable}


def unsayable(names: Mapping[str, str], encoding: str) -> list[str]:
    """Return the keys of the names that an encoding has no letters for; an encoding nobody knows has them all."""
    found = []
    for key, name in names.items():
        try:
            name.encode(encoding)
        except UnicodeEncodeError:
            found.append(key)
        except LookupError:
            return []
    return found


def _is_there(name: str) -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except (locale.Error, ValueError):
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True


def is_broken(text: str) -> bool:
    """Tell whether a text from the command line holds bytes that have no meaning in the encoding it was read in."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)
