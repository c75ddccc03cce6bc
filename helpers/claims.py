"""A sentence about results that is executed: it is printed where the numbers hold, and says so where they do not."""

import html
import math
import re

from IPython.display import HTML, display

FAILED = "data-claim='fails'"  # tools/book.py looks for it


def claim(sentence, holds, about="recorded", **numbers):
    """Show a sentence with its numbers where `holds` is true; else say plainly that it does not hold.

    `sentence` has {names} of `numbers`, with formats, as in "{k} of 8" or "{gap:+.1f}", and **bold** words.
    Where a number is missing (None or NaN) there is no record, so there is no sentence. `about` is "recorded", for
    committed runs: building the book fails on such a claim that does not hold; or "this run", whose numbers may come
    out otherwise. ValueError for anything else.

        claim("The mean image beats {k} of 8 printed averages.", k > 4, k=k)
    """
    if about not in ("recorded", "this run"):
        raise ValueError(f'A claim is about "recorded" or "this run", not {about!r}.')
    if any(_missing(value) for value in numbers.values()):
        return
    words = sentence.format(**numbers)
    if holds:
        mark, attribute, text = "holds", "data-claim='holds'", words
    else:
        text = f"This does not hold for {'the recorded runs' if about == 'recorded' else 'this run'}: {words}"
        mark, attribute = "fails", FAILED if about == "recorded" else "data-claim='differs'"
    emphasised = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text))
    display(_Sentence(f"<p class='claim {mark}' {attribute}>{emphasised}</p>", text))


class _Sentence(HTML):
    """HTML for a page, the bare sentence where there is no page."""

    def __init__(self, data, text):
        super().__init__(data)
        self.text = text

    def __repr__(self):
        return self.text


def _missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))
