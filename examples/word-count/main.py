"""Counts words of a text: one JSON document of arguments on stdin, the result as JSON on stdout."""

import collections
import json
import re
import sys

arguments = json.load(sys.stdin)
text = arguments["text"]
words = re.findall(r"\w+(?:['\u2019]\w+)*", text.casefold())
frequent = collections.Counter(words).most_common(arguments.get("top", 5))
json.dump(
    {
        "words": len(words),
        "lines": len(text.splitlines()),
        "characters": len(text),
        "distinct": len(set(words)),
        "frequent": [{"word": word, "count": count} for word, count in frequent],
    },
    sys.stdout,
)
