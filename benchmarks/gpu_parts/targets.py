"""What the run was to reach: ratios between its own results."""

from gpu_parts import plan

FORWARD, BOTH = (
    "4k causal, d128, forward",
    "4k causal, d128, forward + backward",
)
SHORT = "1k causal, d128, forward"
LONG, LONGEST = (
    "16k causal, d128, forward + backward",
    "64k causal, d128, forward",
)
WINDOW = "32k window, d128, forward"
ADDITIVE = "2k additive, forward"
# What is to be how many times as fast (or as small) as what.
SPEED = [
    *((key, plan.FUSED, plan.CUDNN, 0.95) for key in (FORWARD, BOTH)),
    *((key, plan.FUSED, plan.DENSE, 4.0) for key in (FORWARD, BOTH)),
    *((key, plan.BLOCKWISE, plan.DENSE, 1.5) for key in (FORWARD, BOTH)),
    *(
        (key, plan.BLOCKWISE, plan.DENSE, 0.9)
        for key in (SHORT, f"{SHORT} + backward")
    ),
    (WINDOW, plan.AUTO, plan.DENSE, 20.0),
    *(
        (key, plan.AUTO, plan.DENSE, 5.0)
        for key in (ADDITIVE, f"{ADDITIVE} + backward")
    ),
    (plan.TRAINING_KEY, plan.OURS, plan.KERAS, 1.3),
    (plan.GRADIENTS_KEY, plan.TF_OURS, plan.TF_KERAS, 1.3),
]
MEMORY = [
    (LONG, name, plan.DENSE, 20.0) for name in (plan.FUSED, plan.BLOCKWISE)
]
RUNS_ALONE = [
    (LONGEST, name, plan.DENSE) for name in (plan.FUSED, plan.BLOCKWISE)
]


def judged(records, is_rehearsal=False):
    """Returns a row for each target: what, wanted, found, verdict.

    Args:
        records: dict from (case, program) to a dict with "ms", "memory" and
            "no_room", as far as they are known.
        is_rehearsal: whether the times mean nothing; then nothing is judged.
    """
    rows = []

    def verdict(is_met):
        if is_rehearsal:
            return "rehearsed"
        return "met" if is_met else "not met"

    for field, targets in (("ms", SPEED), ("memory", MEMORY)):
        for key, name, peer, wanted in targets:
            what = f"{key}: {name} beside {peer}"
            if field == "memory":
                what += ", memory"
            found, other = (
                records.get((key, x), {}).get(field) for x in (name, peer)
            )
            row = ["", "not run"]
            if found and other:
                ratio = other / found
                row = [f"{ratio:.2f}x", verdict(ratio >= wanted)]
            rows.append([what, f">= {wanted:g}x", *row])
    for key, name, peer in RUNS_ALONE:
        found, other = (records.get((key, x), {}) for x in (name, peer))
        has_run = found.get("ms"), other.get("ms") or other.get("no_room")
        said = verdict(other.get("no_room")) if all(has_run) else "not run"
        what = f"{key}: {name} runs where {peer} has no room"
        rows.append([what, "runs", "", said])
    return rows
