"""Letter case in searches, the same in every language and on every Postgres, whatever its locale and its collations."""

import unicodedata

DOTLESS_I, I_WITH_DOT = "\u0131", "i\u0307"  # the second is what casefold makes of the Turkish capital of i


def fold_case(text: str) -> str:
    """
    Return the text in the form in which texts are compared: ß is ss, a final sigma a sigma, the Turkish i's are one.

    Accents stay significant, however they are composed.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return folded.replace(I_WITH_DOT, "i").replace(DOTLESS_I, "i")
