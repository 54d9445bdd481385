"""Whether held lanes go on to another head."""

from services.worker.solo import Solo


class Recall:
    """Says when every lane goes back after the head under execution: on shutdown, or while a suspect is to be alone."""

    def __init__(self, solo: Solo) -> None:
        self._solo = solo
        self.is_draining = False
        """Set on shutdown."""

    @property
    def is_on(self) -> bool:
        """Tell whether no further head may be begun."""
        return self.is_draining or self._solo.is_wanted
