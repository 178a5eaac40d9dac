"""Profiles the columns of a CSV table with nothing but the standard library."""

import csv
import io
import json
import math
import statistics
import sys


def numbers(values, convert):
    """All values converted, or None when one of them is no finite number."""
    try:
        parsed = [convert(value) for value in values]
        return parsed if all(map(math.isfinite, parsed)) else None
    except (ValueError, OverflowError):
        return None


def profile(name, cells):
    values = [cell for cell in cells if cell.strip()]
    column = {"name": name, "empty": len(cells) - len(values), "distinct": len(set(values))}
    if not values:
        return column | {"type": "empty"}
    if (parsed := numbers(values, int)) is not None:
        column["type"] = "integer"
    elif (parsed := numbers(values, float)) is not None:
        column["type"] = "number"
    else:
        return column | {"type": "text", "longest": max(map(len, values))}
    return column | {"min": min(parsed), "max": max(parsed), "mean": statistics.fmean(parsed)}


arguments = json.load(sys.stdin)
reader = csv.reader(io.StringIO(arguments["csv"]), delimiter=arguments.get("delimiter", ","))
header = next(reader, None)
if header is None:
    sys.exit("the table has no header row")
rows = [row for row in reader if row]
for row in rows:
    if len(row) != len(header):
        sys.exit(f"line {reader.line_num}: {len(row)} cells where the header has {len(header)}")
columns = [profile(name, [row[i] for row in rows]) for i, name in enumerate(header)]
json.dump({"rows": len(rows), "columns": columns}, sys.stdout, allow_nan=False)
