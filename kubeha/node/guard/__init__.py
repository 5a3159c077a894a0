"""The guard: no two holders of the VIP, and none that is cut off from everybody.

VRRP decides who holds the VIP. Where its packets are filtered while the nodes are healthy, or
where keepalived hangs, two nodes hold it, and no VRRP speaker can see that. The guard sees it on
the wire: it hears ARP (NDP) for the VIP, and what the guards of the other nodes claim. Then exactly
one steps down, by an order that both sides compute alike:

    who advertises VRRP is before who does not; then who has held the VIP longer; then who stands
    first in the cluster file.

A node steps down by writing 1 to a file that keepalived tracks (FAULT). If the VIP is then still
there, keepalived hangs: it is killed and the address removed. It comes back when the other one no
longer has the VIP, or when its advertisements arrive: then VRRP works and is the judge again.

`Guard` decides: events and the time in, actions out, no sockets. `Wire` and `Loop` act.
Invariant: the guard takes the VIP away from a node, never gives it to one; and it never steps down
for a machine that is none of ours. Without it (stopped, killed, hung) there is VRRP alone.

Only the standard library, Python 3.6. On a node it is one file, /etc/kubeha/guard: the modules of
this package one after the other.
"""
