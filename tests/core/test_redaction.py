"""What is left of a secret where a text was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.redaction import CUT_CHARACTERS_MAX, PREFIX_CHARACTERS_MIN, without_begun_secrets

SECRET = "Correct-Horse"


@pytest.mark.parametrize(
    ("text", "cleared"),
    [
        ("your key correct-h", "your key #"),
        ("your key Cor\ufffd", "your key #"),
        ("your key Co", "your key Co"),
        ("read b'Correct...' and went", "read b'#...' and went"),
        ("first Correct-Ho…, then", "first #…, then"),
        ('{"key": "Corr" no', '{"key": "#" no'),
        ("nothing here", "nothing here"),
        ("Correct it", "Correct it"),
        ("", ""),
    ],
)
def test_a_begun_secret_is_struck_out_where_a_text_or_a_quotation_ends(text: str, cleared: str) -> None:
    """Only what stands before a cut is taken for the beginning of a secret."""
    assert without_begun_secrets(text, (SECRET, "other"), "#") == cleared


@given(before=st.text(max_size=40), size=st.integers(PREFIX_CHARACTERS_MIN, len(SECRET) - 1))
def test_no_cut_leaves_a_beginning(before: str, size: int) -> None:
    """Wherever the cut falls, the text does not end with what begins the secret."""
    assert without_begun_secrets(before + SECRET[:size], (SECRET,), "#").endswith("#")


def test_a_hostile_text_costs_little() -> None:
    """What is looked through is bounded."""
    assert len(without_begun_secrets("'" * 1_000_000, (SECRET,), "#")) <= CUT_CHARACTERS_MAX
