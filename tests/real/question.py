"""The question of these tests: an indirect object, and its contrast prompt of equal length."""

PROMPT = "When Mary and John went to the store, John gave a drink to"
CONTRAST_PROMPT = "When John and Mary went to the store, Mary gave a drink to"
TARGET, CONTRAST = " Mary", " John"
