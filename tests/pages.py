"""What a page of `plots.view` holds, read without a browser."""

import base64
import html.parser
import json

import numpy as np


class Elements(html.parser.HTMLParser):
    """The elements of a page and the text of each script, as browsers do."""

    def __init__(self, page):
        super().__init__()
        self.names, self.scripts, self.title = [], [], ""
        self._open = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] += data
        if self._open == "title":
            self.title += data


def data_of(view):
    return json.loads(Elements(view.html).scripts[0])


def weights_in(layer):
    """Returns the weights of a layer as the page holds them, float64."""
    shape = layer["heads"], layer["rows"], layer["columns"]
    data = base64.b64decode(layer["weights"])
    return np.frombuffer(data, "<f2").reshape(shape).astype("float64")


def mask_in(layer):
    bits = np.frombuffer(base64.b64decode(layer["mask"]), "uint8")
    size = layer["rows"] * layer["columns"]
    shape = layer["rows"], layer["columns"]
    return np.unpackbits(bits)[:size].reshape(shape).astype(bool)


def random_weights(*shape, seed=0):
    """Rows that add up to 1."""
    values = np.random.default_rng(seed).exponential(size=shape)
    return values / values.sum(axis=-1, keepdims=True)
