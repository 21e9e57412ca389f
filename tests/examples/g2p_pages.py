"""What the page beside a model of `examples.g2p` must say."""

from keras_attention.models import read_card


def check_page(output):
    """The page states the figures of the card, and the licence is there."""
    page = (output / "README.md").read_text(encoding="utf-8")
    card = read_card(output / "model")
    for search in ("greedy", "beam 4"):
        words, phonemes = card["test"][search].values()
        assert f"| {words:.2%} | {phonemes:.2%} |" in page
    assert f"{card['weights']:,} weights" in page
    assert f"{card['test']['words']:,} words" in page
    assert f"TensorFlow {card['versions']['tensorflow']}" in page
    notice = (output / "CMUDICT-LICENSE").read_text(encoding="utf-8")
    assert "Carnegie Mellon University. All rights reserved." in notice
