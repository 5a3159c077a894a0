"""Where the file on the node begins."""

import sys

from kubeha.node.handover.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
