"""The ids that every vocabulary and every search agree on."""

PAD_ID, BOS_ID, EOS_ID, UNKNOWN_ID = range(4)
