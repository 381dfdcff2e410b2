"""Support Cases on their way: the letter, its journey through a relay, and cases as JSON has them."""

from probe.cases.described import case_of, case_summary_of
from probe.cases.letter import Enclosure, Letter, letter, message_id_of
from probe.cases.mail import NotSent, send

__all__ = ["Enclosure", "Letter", "NotSent", "case_of", "case_summary_of", "letter", "message_id_of", "send"]
