"""Seeds that once failed, and what they found. A change of the plan's generator gives every seed another plan: then
the fault is put back in for a moment, and seeds that find it again are kept instead."""

from __future__ import annotations

from typing import Final

KEPT: Final[dict[int, str]] = {
    293: "a sender that woke asked the new lease about a call of the old one, and wrote it",
    996: "the same, and the next owner had sent newer values",
    912: "a probe of an earlier halt ended the wait for the present one: two probes at once",
    1758: "a letter of a user in two partitions outlives the one that it is about",
    100397: "of two equal values in two partitions the first one goes when the second one's partition does",
    5721: "the same with an older value of the first partition: that one was sent in the end",
    101147: "an assignment amid a stop lifted the drain's deadline: a call could outlast it",
    100017: "what came by assignment before a fence is given back, not kept beside the new owner",
    200469: "the model: a value was taken for an equal one that retention had deleted unread",
    307865: "the model: a letter about a record that retention had deleted took nothing of its user's entry with it",
    321546: "a user given up as server_error wiped out what the gate had counted before",
    51785655: "the model: requests that a frozen worker wrote late were counted twice against the rate",
    766057920: "the model: a good-bye that was not heard ended the membership that began since",
}
