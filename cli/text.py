"""What people may give as the text of an option or an argument."""

from typing import Any, Final

import click

LONGEST: Final = 2_000
"""Characters of a text of which nothing else is said: enough for any address."""

LONGEST_REASON: Final = 500
"""Characters of what people give as their reason: it goes into the journal and every dead letter that comes of it."""


class Text(click.types.StringParamType):
    """A text that says something and can be sent: what a shell makes of a variable that is not set is a mistake."""

    def __init__(self, longest: int | None = LONGEST) -> None:
        """Args:
        longest: The most characters; None bounds them elsewhere.
        """
        self._longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text.

        Raises:
            BadParameter: It is empty, too long, or holds bytes that are not UTF-8.
        """
        text = super().convert(value, param, ctx)
        if not text:
            is_needed = param is None or param.required
            self.fail(
                "it is empty" if is_needed else "it is empty; leave it out, or say what it is", param, ctx
            )
        if self._longest is not None and len(text) > self._longest:
            self.fail(f"got {len(text)} characters, expected at most {self._longest}", param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8", param, ctx)
        return text


TEXT: Final = Text()
REASON: Final = Text(LONGEST_REASON)
ANY_LENGTH: Final = Text(None)


def demand_text(command: click.Command) -> None:
    """Have every text of a command, and of those below it, be one."""
    for param in command.params:
        if param.type is click.STRING:
            param.type = TEXT
    if isinstance(command, click.Group):
        for below in command.commands.values():
            demand_text(below)
