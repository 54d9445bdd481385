"""What people may give as the text of an option or an argument."""

from typing import Any

import click


class Text(click.types.StringParamType):
    """A text that says something and can be sent: what a shell makes of a variable that is not set is a mistake."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text.

        Raises:
            BadParameter: It is empty, or holds bytes that are not UTF-8.
        """
        text = super().convert(value, param, ctx)
        if not text:
            is_needed = param is None or param.required
            self.fail(
                "it is empty" if is_needed else "it is empty; leave it out, or say what it is", param, ctx
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8", param, ctx)
        return text


TEXT = Text()


def demand_text(command: click.Command) -> None:
    """Have every text of a command, and of those below it, be one."""
    for param in command.params:
        if param.type is click.STRING:
            param.type = TEXT
    if isinstance(command, click.Group):
        for below in command.commands.values():
            demand_text(below)
