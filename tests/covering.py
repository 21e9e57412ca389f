"""Few cases that still hold every combination of a few options.

Most mistakes need one option, or two that meet (Kuhn, Wallace and Gallo 2004,
"Software fault interactions and implications for software testing"). So of a
test with many stacked `parametrize` a gate may run a cover: cases in which
each value (strength 1), or each pair of values (strength 2), occurs.
"""

import itertools


def cover(cases, strength):
    """Returns positions of cases that hold what all cases hold.

    Args:
        cases: list of dicts, from the name of each option to a hashable.
        strength: how many options at a time must occur together as they do
            somewhere in `cases`.

    Returns:
        Sorted list of positions, found greedily: not always the fewest.
    """
    combinations = [
        set(itertools.combinations(sorted(case.items()), strength))
        or {tuple(case.items())}
        for case in cases
    ]
    missing = set().union(*combinations)
    chosen = []
    while missing:
        best = max(
            range(len(cases)),
            key=lambda position: len(combinations[position] & missing),
        )
        chosen.append(best)
        missing -= combinations[best]
    return sorted(chosen)
