"""The grammars of files that people write by hand: haproxy.cfg and keepalived.conf. Pure."""
