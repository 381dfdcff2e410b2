"""That an obligation was missed, as the program saw it: the value of `lapsing`, which has the rules."""

from dataclasses import dataclass

from probe.core.happenings import Party

# What names a lapse: the issue or case, the obligation, and when it was due.
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """The program saw that what was owed in an issue or a case, one of the two, did not come by its time.

    `obligation` is a word of `Duty` or `CaseDuty`. It is `raised`, and over once it is no longer owed; `words` say what
    the record has in place of it, or why it is over. The obligation itself is derived, whatever was noticed of it.
    """

    target: str
    issue: str = ""
    case: str = ""
    obligation: str
    owed_by: Party
    due_us: int
    noticed_us: int
    raised: bool
    words: str

    @property
    def subject(self) -> str:
        """Give the id of the issue or the case."""
        return self.issue or self.case

    @property
    def key(self) -> Key:
        """Name what was owed: both turns of it have the same key, and no other lapse has."""
        return self.subject, self.obligation, self.due_us

    @property
    def name(self) -> str:
        """Name the obligation among those of issues and of cases."""
        return f"case_{self.obligation}" if self.case else self.obligation
