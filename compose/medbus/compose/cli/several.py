"""A command whose options take several values in a row: `--image UID UID` is `--image UID --image UID`."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

_ASSIGNMENT = re.compile(r"[A-Za-z][A-Za-z0-9-]*=.*", re.DOTALL)


class SeveralValues(TyperCommand):
    """Its options that may be repeated take all words that follow, up to the next option or NAME=VALUE."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments."""
        several = {word for each in self.params if getattr(each, "multiple", False) for word in each.opts}
        return super().parse_args(ctx, spread(args, several))


def spread(words: Sequence[str], several: Collection[str]) -> list[str]:
    """The same words, with an option before each of its values. What follows `--` stays as it is."""
    found: list[str] = []
    option = ""
    for number, word in enumerate(words):
        if word == "--":
            return [*found, *words[number:]]
        if word.startswith("-"):
            option = word if word in several else ""
        elif option and found[-1] != option:
            if _ASSIGNMENT.fullmatch(word) and not Path(word).exists():
                option = ""
            else:
                found.append(option)
        found.append(word)
    return found
