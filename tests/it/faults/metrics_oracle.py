"""Reads a page of metrics, given on standard input, with the parsers of the Prometheus client for Python.

The argument is the format: `open` for OpenMetrics, `plain` for the text format 0.0.4. Prints every
sample as a line of JSON: family, kind, name, labels, value.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

parse = {"open": parse_open, "plain": parse_plain}[sys.argv[1]]
families = set()
for family in parse(sys.stdin.read()):
    if family.name in families:
        sys.exit(f"{family.name} is there twice")
    families.add(family.name)
    if not family.documentation:
        sys.exit(f"{family.name} has no help")
    for sample in family.samples:
        print(json.dumps([family.name, family.type, sample.name, sample.labels, sample.value]))
