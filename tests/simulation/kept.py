"""Seeds whose runs once failed, and the fault that each found.

They found these faults in an earlier simulation, which modelled the worker's loop instead of driving the real exchange
and membership. Since then a seed's run is another one. So a seed here need not meet its fault again, and its text is
history, not coverage: the seeds are kept as runs that once failed. What proves that the checks still catch faults is
test_mutations.py.

"model:" marks a fault of the simulation itself, not of the worker. `KEPT_REPLAYS` are seeds of clusters with a
replay, `KEPT_REDRIVES` of those with redrives; these still run as they did when they failed.
"""

from __future__ import annotations

from typing import Final

KEPT: Final[dict[int, str]] = {
    293: "a worker thawed with a new lease; its sender asked that lease about an old lease's call, and wrote the call",
    996: "as 293, after the next owner had sent newer values",
    912: "the reply to an earlier halt's probe ended the wait for the present halt's: two probes in flight at once",
    1758: "a user with records in two partitions: their dead letter was kept after its own partition was lost",
    100397: "two partitions held equal values of one attribute; losing the second partition dropped both",
    5721: "as 100397, but an older value of the first partition was sent in the end",
    101147: "an assignment during a stop lifted the drain's deadline, so a call could outlast it",
    100017: "a worker fenced itself right after an assignment, and kept those partitions beside their new owner",
    200469: "model: retention had deleted a value unread; the oracle took an equal value for it",
    307865: "model: retention had deleted a letter's record; the oracle did not count its whole entry as given up",
    321546: "giving one user up as server_error erased the failures that the gate had counted before",
    51785655: "model: a frozen worker's requests, written late after its thaw, counted twice against the rate",
    610019529: "a user that met three outages at their start was blamed, though others had met each of them",
    700000313: "two users that got 403 for good, beside few others, were never blamed, as each had met it too",
    766057920: "model: the time-out of a departure that nobody heard ended the membership that the worker began later",
    920001895: "a user given up in a storm, so without a letter yet, got a 200, and was given up at its next 503",
    930000207: "a user with 403 for good, few calls of others: each part of its search waited for another success",
    940001008: "as 930000207",
    1100003800: "403s of one user counted as evidence for a 404 that everybody met",
    2200002747: "after a halt all calls were made again, and what the few first calls showed before it gave a user up",
    2300012581: "model: a user that always gets 409 was given up as server_error in a brownout, which is no lost value",
    2600004464: "model: a user known to fail got the first pause; the worker obeyed it, the oracle did not count it",
    2500019281: "users known for other answers met a wrong URL after one new user did, and the gate stayed open",
    2600008197: "as 2500019281, with web pages",
    9130: "users that had met a halt before met the next one first, as no news, and the gate stayed open",
    1200001499: "model: a worker crashed while its connection was refused: that request counted as in flight",
    2800046696: "model: a worker that had left unheard heard an assignment of the membership it had left",
    3100001206: "remembered values kept half of a small budget, and what waited went through the rest too slowly",
    3100200378: "as 3100001206",
    3100100057: "model: retention had deleted a change whose call was in flight; an equal one after it was spared",
    3100100178: "model: retention met changes that were not read, and the oracle took one of them for spared",
}

KEPT_REPLAYS: Final[dict[int, str]] = {
    108: "a replay froze between its look at the log and its calls, and sent what was old when it woke",
    140: "as 108",
    165: "model: until an overtaken user is read on for, its newest value may be sent again after a kill",
    710000042: "a value that overtook a replay twice held its place among the calls in the air for ever",
    720000043: "model: a worker that waited for memory took in a record a second",
    6: "model: retention had deleted what the replay had still to read",
    143: "model: retention had deleted newer values unread while the replay was frozen",
    128: "model: a replay with little memory read a record a turn, and took hours",
    7400000712: "a value that overtook a replay's call was taken back and not sent, as the user changed once more",
    4100000890: "a refused value fell back on one of another partition, where a later one had been read",
}

KEPT_REDRIVES: Final[dict[int, str]] = {
    6: "model: a letter of a refused newer value had the id of a letter with more attempts, and counted as the latest",
    7200001360: "model: the destination took a value from then on, whose letter the job had written already",
    7200001852: "a letter was sent while the worker that had written it had still to fall back on an older value",
    212175713: "as 7200001852",
    40: "model: a killed process's letter came to the topic between the next one's start and its look at the letters",
}
