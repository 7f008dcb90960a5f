"""Where to make transactions durable: in the event loop, or in a thread. Pure.

In the loop a commit blocks everything for the time of an fsync; handing it over costs two wake-ups and a share of the
interpreter lock: 0.3 ms a write. A commit holds the writes of one turn of the loop, so the loop wins while a commit costs
less than about three milliseconds (measured with 1, 8 and 32 writers over TLS).
"""

from __future__ import annotations

from collections import deque

SLOW_SECONDS = 0.003
WINDOW = 16
FIRST_STAY = 64
LONGEST_STAY = 65_536


class Pace:
    """Decides from what the last commits cost; `inline` is the decision.

    Going to the thread needs a slow median. Coming back needs one fast commit, because in the thread the figure holds
    waits for the interpreter lock too; and each way back that proved wrong doubles the commits before the next try.
    """

    def __init__(self, first_cost_seconds: float) -> None:
        self.inline = first_cost_seconds <= SLOW_SECONDS
        self._costs: deque[float] = deque(maxlen=WINDOW)
        self._since_switch = 0
        self._stay = FIRST_STAY

    def observe(self, cost_seconds: float) -> None:
        """Take in what the last commit cost."""
        self._costs.append(cost_seconds)
        self._since_switch += 1
        if self._since_switch < WINDOW:
            return
        if self.inline:
            # a median of a full window only when the newest is slow: the usual commit pays one comparison
            if cost_seconds > SLOW_SECONDS and sorted(self._costs)[WINDOW // 2] > SLOW_SECONDS:
                self._switch(inline=False)
        elif self._since_switch >= self._stay and min(self._costs) <= SLOW_SECONDS / 2:
            self._stay = min(self._stay * 2, LONGEST_STAY)
            self._switch(inline=True)

    def _switch(self, inline: bool) -> None:
        self.inline = inline
        self._since_switch = 0
        self._costs.clear()
