"""What a request, a former holder and the journal are written in, and who waits how long."""

from typing import Any, Dict

Json = Dict[str, Any]
SILENCE = 3.5
# Who speaks again before this is passed packets again: a busy machine is not a dead one.
GONE = 20.0
# How long a former holder waits for the VIP to go, and how long it stays at the least afterwards:
# gratuitous ARP is repeated after one second.
PREPARED = 30.0
LEAST = 3.0
# What has not ended by itself then is ended by systemd.
MARGIN = 30.0
