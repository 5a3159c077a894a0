"""python3 -m kubeha.node.guard: what the file on the node does."""

from kubeha.node.guard.loop import main

if __name__ == "__main__":
    main()
