"""The lab: real systemd machines with a real Kubernetes control plane on one Linux box."""
