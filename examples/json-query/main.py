"""Queries JSON with the jmespath library of the host's /usr."""

import json
import sys

import jmespath

arguments = json.load(sys.stdin)
try:
    result = jmespath.search(arguments["expression"], arguments["document"])
except jmespath.exceptions.JMESPathError as error:
    sys.exit(f"the expression cannot be evaluated: {error}")
json.dump({"result": result}, sys.stdout)
