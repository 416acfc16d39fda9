import pytest

from projections.engine.letter_case import fold_case


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Look at the INBOX", "inbox"),
        ("Straße fegen", "STRASSE"),
        ("ΟΔΟΣ", "οδος"),
        ("οδός", "ΟΔΌΣ"),
        ("ПРИВЕТ", "привет"),
        ("İSTANBUL", "istanbul"),
        ("ISPARTA", "\u0131sparta"),
        ("\u0131s\u0131", "ISI"),
        ("ÉCOLE", "école"),
        ("e\u0301cole", "ÉCOLE"),
        ("ﬁle", "FILE"),
    ],
)
def test_a_text_is_met_in_any_case_of_its_language(text, query):
    assert fold_case(query) in fold_case(text)
    assert fold_case(query.upper()) in fold_case(text.lower())


@pytest.mark.parametrize(
    ("text", "query"), [("école", "ecole"), ("ecole", "école"), ("Ärger", "arger"), ("õ", "o"), ("e\u0301", "e")]
)
def test_accents_are_significant(text, query):
    assert fold_case(query) not in fold_case(text)
