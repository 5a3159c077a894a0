"""How long the guard waits for what. All in seconds, but for the counts."""

PATIENCE = 0.05  # a normal handover overlaps for some milliseconds; then it is a conflict
ASK_AGAIN = 0.0125  # while there is a conflict
STALE = 0.045  # what has not been heard for so long counts no more
ALIKE = 0.15  # who took the VIP within so long of another one has not held it longer
ONLY_RANK = 1.0  # a conflict that lasts: what both sides measure may differ, ranks do not
NO_CLAIM = 0.1  # per rank: a rival without a guard is waited for longer
HANGS = 1.0  # without an advertisement, when the rival has yielded
REACTION = 0.1  # what keepalived may take to give the VIP up
HUSHED = 0.3  # for so long nobody hears what it says meanwhile
PROBE = 0.2  # how often the one who stepped down asks whether the VIP is held
MISSES = 3
BEAT = 0.25  # while holding, to notice that this machine was paused
PAUSED = 0.2  # so late after a beat it was
# While holding: is anybody there? And when nobody was. So a node that is cut off knows it when the
# others take the VIP: after three advertisements, 0.3 s by default.
ROUND, QUICK_ROUND = 0.1, 0.06
SLOW_ROUND = 2.0  # when only the gateway can answer
RECENT = 10.0  # a peer that has answered within so long is one to wait for
LONELY = 3  # rounds
FULL = 20  # one round in so many asks the gateway as well, and peers for the VIP
SETTLE = 5.0  # after the last peer answered
DOUBT = 5.0  # after a conflict that came back although advertisements had arrived; then doubled
MOST_DOUBT = 600.0
DEFEND = 10.0  # RFC 5227, section 2.4
CARDS = 4  # so many MAC addresses of one node are remembered, the newest
NEVER = float("inf")
