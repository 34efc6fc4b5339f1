"""Word lists for the template sentences of the bundled model.

Every list comes in two parts: words used in training sentences, and words held out from them.
A held-out name occurs in no sentence of training. A held-out noun occurs there only in short
sentences that show its number ("The keys are old."), never with a relative clause. A held-out
place or thing occurs only outside indirect-object sentences.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES: tuple[str, ...] = _words("""
    Mary John Tom James Anna Paul Lisa Mark Sarah David Emma Peter Alice Robert Laura Daniel
    Julia Kevin Maria Simon Helen Frank Grace Henry Kate Jack Rose Adam Jane Luke Emily Sam
    Amy George Ruth Martin Clara Oscar Nina Victor Michael Susan Bill Linda
""")
HELD_OUT_NAMES: tuple[str, ...] = _words("""
    Diana Oliver Sophie Edward Lucy Karen Ellen Philip Monica Walter Irene Gloria
""")
FEMALE: frozenset[str] = frozenset(
    _words("""
    Mary Anna Lisa Sarah Emma Alice Laura Julia Maria Helen Grace Kate Rose Jane Emily Amy Ruth
    Clara Nina Susan Linda Diana Sophie Lucy Karen Ellen Monica Irene Gloria
""")
)

PLACES: tuple[str, ...] = (
    "park", "school", "office", "station", "garden", "market", "library", "beach", "hospital",
    "museum", "restaurant", "farm", "hotel", "bank",
)  # fmt: skip
HELD_OUT_PLACES: tuple[str, ...] = ("store", "church", "river")

THINGS: tuple[str, ...] = (
    "book", "ring", "letter", "ball", "cup", "map", "phone", "box", "pen", "ticket", "hat", "gift",
    "basket", "coin",
)  # fmt: skip
HELD_OUT_THINGS: tuple[str, ...] = ("drink", "lamp", "watch")

# singular -> plural
NOUNS: dict[str, str] = {
    "dog": "dogs", "cat": "cats", "man": "men", "woman": "women", "girl": "girls", "boy": "boys",
    "teacher": "teachers", "student": "students", "doctor": "doctors", "farmer": "farmers",
    "book": "books", "car": "cars", "house": "houses", "door": "doors", "table": "tables",
    "picture": "pictures", "letter": "letters", "tree": "trees", "bird": "birds", "horse": "horses",
    "flower": "flowers", "cup": "cups", "chair": "chairs", "window": "windows", "king": "kings",
    "friend": "friends",
}  # fmt: skip
HELD_OUT_NOUNS: dict[str, str] = {
    "key": "keys", "boat": "boats", "coat": "coats", "pilot": "pilots", "singer": "singers",
    "plant": "plants",
}  # fmt: skip
# nouns that can do something to another one
AGENTS: tuple[str, ...] = (
    "man", "woman", "girl", "boy", "teacher", "student", "doctor", "farmer", "king", "friend",
    "dog", "cat",
)  # fmt: skip
# with a singular subject -> with a plural one
VERBS: dict[str, str] = {
    "holds": "hold", "sees": "see", "likes": "like", "knows": "know", "wants": "want",
    "finds": "find", "follows": "follow", "loves": "love", "needs": "need", "watches": "watch",
}  # fmt: skip
# singular and plural, with how often each pair is used
BE_PAIRS: tuple[tuple[str, str], ...] = (("is", "are"), ("was", "were"), ("has been", "have been"))
BE_WEIGHTS: tuple[float, ...] = (0.6, 0.25, 0.15)
SINGULAR_VERBS: tuple[str, ...] = ("is", "was", "has")
PLURAL_VERBS: tuple[str, ...] = ("are", "were", "have")

ADJECTIVES: tuple[str, ...] = (
    "old", "new", "big", "small", "happy", "sad", "good", "bad", "clean", "strong", "cold", "hot",
    "nice", "late", "quiet", "tall",
)  # fmt: skip
COLOURS: tuple[str, ...] = ("red", "blue", "green", "black", "white", "brown", "yellow")
FOODS: tuple[str, ...] = ("bread", "cheese", "rice", "soup", "fish", "milk", "tea", "cake")
DAYS: tuple[str, ...] = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
NUMBERS: tuple[str, ...] = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
CAPITALS: tuple[tuple[str, str], ...] = (
    ("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Japan", "Tokyo"),
    ("Germany", "Berlin"), ("England", "London"), ("Egypt", "Cairo"), ("Russia", "Moscow"),
)  # fmt: skip
OPPOSITES: tuple[tuple[str, str], ...] = (
    ("old", "new"), ("big", "small"), ("happy", "sad"), ("good", "bad"), ("cold", "hot"),
    ("black", "white"), ("up", "down"), ("left", "right"), ("open", "closed"), ("day", "night"),
)  # fmt: skip
BRACKETS: tuple[tuple[str, str], ...] = (("(", ")"), ("[", "]"), ("{", "}"))
OTHER_TARGETS: tuple[str, ...] = (
    "Jordan", "Jackson", "Again", "question", "answer", "hello", "goodbye", "starshine", "America",
    "basketball", "music", "Earth", "Moon",
)  # fmt: skip


def must_be_single_tokens() -> list[str]:
    """Every word that is to be one token when a space stands before it, sorted."""
    words: set[str] = set()
    for names in (NAMES, HELD_OUT_NAMES, PLACES, HELD_OUT_PLACES, THINGS, HELD_OUT_THINGS):
        words.update(names)
    for pairs in (NOUNS, HELD_OUT_NOUNS, VERBS):
        words.update(pairs)
        words.update(pairs.values())
    for some in (ADJECTIVES, COLOURS, FOODS, DAYS, NUMBERS, OTHER_TARGETS):
        words.update(some)
    words.update(SINGULAR_VERBS, PLURAL_VERBS)
    words.update(city for _, city in CAPITALS)
    words.update(word for pair in OPPOSITES for word in pair)
    words.update(bracket for pair in BRACKETS for bracket in pair)
    return sorted(words)
