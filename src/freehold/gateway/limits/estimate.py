"""What a call may use, told before it is made: an upper bound, and the least that it will hardly stay below."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from freehold.state.limits import UNITS_PER_USD

if TYPE_CHECKING:
    from freehold.core.chat import Usage
    from freehold.economics.prices import Price
    from freehold.state.limits import Measure

UNSTATED_OUTPUT_TOKENS = 1_024
"""Reserved for the output of a request that sets no limit to it."""
_LIKELY_BYTES_PER_TOKEN = 4
_LIKELY_INPUT_TOKENS = 4_096
"""A longer body may be a picture, which is few tokens for its bytes: it is not taken for likely use."""
_LARGEST_CONTEXT_TOKENS = 2_000_000
"""More input no model takes."""
_TOKENS_PER_MTOK = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is known of a call's use before it is made.

    No tokenizer makes more tokens of a text than it has bytes, so the bytes of the body bound its input from above.
    That does not hold for pictures and files that a body names by their address.
    """

    body_bytes: int
    most_output_tokens: int | None
    """Of all choices together; 0 where there is none, as with embeddings; None: the request sets no limit."""
    price: Price | None
    """None: nobody knows what the call will cost."""

    def tokens(self) -> tuple[int, int]:
        """The least that must be left for the call to be made, and what is reserved for it where there is room.

        A request without a body asks no model for anything: it needs none.
        """
        if self.body_bytes == 0:
            return 0, 0
        least = self._likely_input + self._least_output
        return max(1, least), max(1, self._most_input + self._most_output)

    def usd_units(self) -> tuple[int, int] | None:
        """The same in billionths of a dollar; None when the price is unknown."""
        if self.body_bytes == 0:
            return 0, 0
        if self.price is None:
            return None
        least = _units(self.price, self._likely_input, self._least_output)
        return max(1, least), max(1, least, _units(self.price, self._most_input, self._most_output))

    @property
    def _likely_input(self) -> int:
        return min(self.body_bytes // _LIKELY_BYTES_PER_TOKEN, _LIKELY_INPUT_TOKENS)

    @property
    def _most_input(self) -> int:
        return min(self.body_bytes, _LARGEST_CONTEXT_TOKENS)

    @property
    def _least_output(self) -> int:
        return 1 if self.most_output_tokens is None else self.most_output_tokens

    @property
    def _most_output(self) -> int:
        return UNSTATED_OUTPUT_TOKENS if self.most_output_tokens is None else self.most_output_tokens

    def amounts(self, measure: Measure) -> tuple[int, int] | None:
        """Least and most in the unit of a limit; None when they are unknown."""
        match measure:
            case "requests":
                return 1, 1
            case "tokens":
                return self.tokens()
            case "usd":
                return self.usd_units()


def tokens_used(usage: Usage | None, *, has_output: bool) -> int | None:
    """Input and output tokens of a call; None if one of them is there and was not counted."""
    if usage is None or usage.input_tokens is None or (has_output and usage.output_tokens is None):
        return None
    return usage.input_tokens + (usage.output_tokens or 0)


def usd_units(usd: Decimal) -> int:
    """Billionths of a dollar, rounded up."""
    return int((usd * UNITS_PER_USD).to_integral_value(ROUND_CEILING))


def _units(price: Price, input_tokens: int, output_tokens: int) -> int:
    rates = price.rates_for(input_tokens)
    dearest_input = max(rates.input_usd_per_mtok, rates.cache_write_usd_per_mtok or Decimal(0))
    output = (rates.output_usd_per_mtok or Decimal(0)) * output_tokens
    return usd_units((dearest_input * input_tokens + output) / _TOKENS_PER_MTOK)
