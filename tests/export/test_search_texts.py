"""What every guide says of a search."""

import keras_attention as ka
from keras_attention.export import search_texts


def test_samples_come_in_the_order_drawn_and_a_beam_best_first():
    assert "in the order drawn" in search_texts.order_of(ka.Sample())
    for search in (ka.Greedy(), ka.Beam(3)):
        assert "best first" in search_texts.order_of(search)
