"""Where sound belongs: packet timestamps freed of their jitter, causally.

Browsers stamp sound with jitter (± 5 ms in Chromium's WebM, 8 ms in its MP4), but its samples are continuous, and
placing each packet by its own stamp would tear them apart. So packets follow one another without a seam, a slow
wander of the stamps is followed slowly, and only a step that stays (samples that the browser lost) is a hole.
"""

from __future__ import annotations

import numpy as np

from callreel.scans import Ints

#: A step of the stamps is a hole when three packets in a row agree on it. Above Chromium's jitter of 9 ms, and small
#: against 20 ms, where two microphones begin to be heard apart.
_STEP_US = 12_000
_AGREE = 3
#: The wander that is followed is the mean of about a second of packets, once it is off by more than 3 ms …
_WINDOW = 16
_FOLLOW_US = 3_000
_SETTLED_US = 500
#: … by at most 1 ms in a second: a change of pitch of 0.1 %, below what can be heard.
_SLEW_PPM = 1_000


def smooth(pts_us: Ints, duration_us: Ints) -> Ints:
    """Places in µs for packets stamped `pts_us` that decode to `duration_us` each.

    Packet i's place depends on packets up to i + 2 only, so that what is placed stays where it is.
    """
    count = len(pts_us)
    places = np.zeros(count, dtype=np.int64)
    if not count:
        return places
    played_us = np.concatenate(([0], np.cumsum(duration_us)[:-1]))
    lead_us = pts_us - played_us  #: how far each stamp is ahead of a continuous stream
    at_us = int(lead_us[0])
    since = 0
    following = False
    for i in range(count):
        ahead = lead_us[i : i + _AGREE] - at_us
        if len(ahead) == _AGREE and (bool(np.all(ahead > _STEP_US)) or bool(np.all(ahead < -_STEP_US))):
            at_us, since, following = int(lead_us[i]), i, False
        recent = lead_us[max(since, i - _WINDOW + 1) : i + 1]
        wander_us = int(recent.mean()) - at_us if len(recent) >= _WINDOW // 2 else 0
        following = abs(wander_us) > (_SETTLED_US if following else _FOLLOW_US)
        if following:
            limit_us = int(duration_us[i]) * _SLEW_PPM // 1_000_000
            at_us += max(-limit_us, min(limit_us, wander_us))
        places[i] = played_us[i] + at_us
    return places
