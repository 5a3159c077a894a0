"""kubeha: the Kubernetes API endpoint of a self-hosted cluster survives the loss of any node."""

__version__ = "0.1.0"
