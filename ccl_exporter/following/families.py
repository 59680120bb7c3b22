"""Every metric of a follower, which it serves itself on a port of its own."""

from ccl_exporter.following.follow import REASONS
from ccl_exporter.model import Family

INFO = Family("ccl_follow_info", "info", "What is followed: mode, and plug.", ("mode", "plug"))
REASON = Family(
    "ccl_follow_reason", "stateset", "Why the limit is what it is; 1 for the one that holds.", states=REASONS
)
NUMBER = Family("ccl_follow_number_watts", "gauge", "The number as it came, in watts; none before the first.")
NUMBER_TAKEN = Family("ccl_follow_number_timestamp_seconds", "gauge", "When the number was taken.")
FREE = Family(
    "ccl_follow_free_watts", "gauge", "Power that the car may take by that number; none while nobody knows."
)
TARGET = Family(
    "ccl_follow_target_amperes", "gauge", "Current that the car would be given if writes cost nothing."
)
LIMIT = Family("ccl_follow_limit_amperes", "gauge", "Limit that the charger reads back.")
CURRENT = Family("ccl_follow_current_amperes", "gauge", "Current that the charger's meter measures.")
WRITES_LEFT = Family("ccl_follow_writes_left", "gauge", "Writes that this hour still has.")
WRITES = Family("ccl_follow_writes_total", "counter", "Writes that were sent to the charger.")
FAILED_WRITES = Family("ccl_follow_failed_writes_total", "counter", "Writes that the charger did not accept.")
STARTS = Family("ccl_follow_starts_total", "counter", "Times that a pause ended, so that the car started anew.")

FOLLOW = (
    INFO,
    REASON,
    NUMBER,
    NUMBER_TAKEN,
    FREE,
    TARGET,
    LIMIT,
    CURRENT,
    WRITES_LEFT,
    WRITES,
    FAILED_WRITES,
    STARTS,
)
