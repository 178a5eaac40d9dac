"""A tool whose imports cost far more than its work: sums columns of a small table with pandas.

It keeps its contract by `fumehood.tool`, as documented for tools in Python: whoever runs it, it
leaves without tearing the interpreter down (80 ms with pandas imported).
"""

import pandas

from fumehood.tool import run


def main(arguments):
    table = pandas.DataFrame(arguments["table"])
    return {name: int(value) for name, value in table.sum().items()}


run(main)
