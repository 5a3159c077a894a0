"""What clients of the endpoint lose when its holder crashes or is taken out: kubeha and others.

Every trial is real (lab machines, real API servers) and is appended to a file as one line, so that
a run of hours can be stopped and continued; tables and pictures are made from that file alone.
"""
