"""The cluster file: bytes -> Cluster, or every problem at once with its line.

Pure: reading the file is the command line's business (`cli.cluster_file`).
"""

from kubeha.config.document import LARGEST_FILE
from kubeha.config.initial import render_initial
from kubeha.config.parse import Loaded, parse
from kubeha.config.schema import json_schema

__all__ = ["LARGEST_FILE", "Loaded", "json_schema", "parse", "render_initial"]
