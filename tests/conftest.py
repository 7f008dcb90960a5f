"""What holds for every test.

Properties are judged by what they find, never by how long an example takes: machines are shared and noisy. On CI the
examples are the same every time, so that a run says something about the change and not about luck; elsewhere new ones
are drawn each time.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "carob", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("carob")

# a background job's SIGINT is ignored, and its children inherit that: what is interrupted here must notice
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
