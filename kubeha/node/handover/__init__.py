"""Keeps connections alive while the VIP moves from one load balancer node to another.

Stays on the nodes as /etc/kubeha/handover. `join` reads a request (JSON) and sees that `serve` runs
as a transient service and has carried it out; `serve` undoes everything at the deadline, or when
the connections have ended; `undo` is what systemd runs after it, however it ended; `status`,
`drain` and `undrain` do what they say.

Who held the VIP before is a *former* holder. It keeps the VIP on its loopback interface and answers
no ARP for it, so that its sockets live on. Everybody else is a *relay*: a packet for the endpoint
that begins no connection, and of which this kernel knows only the listening socket, belongs to a
former holder and is passed on to it, unchanged, at layer 2. A node may be both.

No packet goes in circles: what is passed on is marked (DSCP 61), and what is marked is never passed
on again. Each former holder gets a copy; those that do not know it drop it if there are several,
and answer it with a RST if there is only one.

A connection that ended lately leaves its ports behind, in TIME-WAIT; where a client has used the
same port again meanwhile, for a connection to a former holder, a relay would answer in its place.
So relays forget such ends as they join.

Former holders send a frame at least each second, so that relays know that they are alive: 3.5 s of
silence and packets are no longer passed on, clients get a RST instead of nothing.

What was there before an act is in the journal before the act: undo puts exactly that back, and
leaves alone what somebody else has changed meanwhile.

`wanted`, `formers` and `frames` decide; `kernel` and `files` touch the system, `acts` changes it.
Only the standard library, Python 3.6. On a node it is one file: the modules of this package one
after the other.
"""
