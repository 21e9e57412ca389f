"""Files of images: those of Fashion-MNIST, and scikit-learn's digits."""

import gzip
import pathlib

import numpy as np

from keras_attention.examples import task

SOURCE = (
    "Fashion-MNIST (MIT), Debian's package dataset-fashion-mnist, in "
    "/usr/share/datasets/fashion-mnist; or digits.csv.gz (CC BY 4.0), in "
    "sklearn/datasets/data of the Python package scikit-learn"
)
FASHION = {
    "english": "t-shirt,trouser,pullover,dress,coat,sandal,shirt,sneaker,bag,"
    "ankle boot",
    "german": "t-shirt,hose,pullover,kleid,mantel,sandale,hemd,turnschuh,"
    "tasche,stiefelette",
}
DIGITS = {
    "english": "zero,one,two,three,four,five,six,seven,eight,nine",
    "german": "null,eins,zwei,drei,vier,fünf,sechs,sieben,acht,neun",
}


PUBLISHED = {
    "Fashion-MNIST": {
        "rows": "88.8, 89.7 with dropout (GRU and SVM)",
        "patches": "92.5 (2 convolutions, < 100k parameters)",
    },
    "digits 8x8": {"rows": "97 (SVM)", "patches": "97 (SVM)"},
}


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Returns the array of a file in the format of MNIST."""
    with task.reading(path, "arrays in the format of MNIST"):
        with gzip.open(path) as file:
            content = file.read()
        axes = content[3]  # before it two zeros and the type, unsigned bytes
        shape = np.frombuffer(content, ">i4", axes, offset=4)
        return np.frombuffer(content, "u1", offset=4 + 4 * axes).reshape(shape)


def write_sample(folder: pathlib.Path) -> None:
    """Writes images of one bright bar each, which is lower in each class."""
    for side, number in (("train", 128), ("t10k", 32)):
        labels = np.arange(number, dtype="u1") % 10
        images = np.random.default_rng(number).integers(0, 99, (number, 28, 28))
        images[np.arange(number), 2 * labels + 4] = 255
        for name, array in (("images", images), ("labels", labels)):
            path = folder / f"{side}-{name}-idx{array.ndim}-ubyte.gz"
            with gzip.open(path, "w") as file:
                file.write(bytes([0, 0, 8, array.ndim]))
                file.write(np.array(array.shape, ">i4").tobytes())
                file.write(array.astype("u1").tobytes())


def read_images(folder: pathlib.Path) -> tuple:
    """Returns data's name, names of its classes, training side, test side.

    The names are a list for each language. A side is a pair: images (number,
    height, width, 1), float32 from 0 to 1, and their classes (number,).
    """
    path = folder / "digits.csv.gz"
    if path.is_file():
        with task.reading(path, "64 pixels and a digit in each line"):
            table = np.loadtxt(path, "float32", delimiter=",")
            images = table[:, :-1].reshape(-1, 8, 8, 1) / 16
        labels = table[:, -1].astype("int32")
        half = len(table) // 2  # as scikit-learn's guide splits them
        sides = (images[:half], labels[:half]), (images[half:], labels[half:])
        return "digits 8x8", _lists(DIGITS), *sides
    sides = []
    for side in ("train", "t10k"):
        images, labels = (
            read_idx(task.data_file(folder, f"{side}-{name}-ubyte.gz"))
            for name in ("images-idx3", "labels-idx1")
        )
        images = images[..., None] / np.float32(255)
        sides.append((images, labels.astype("int32")))
    return "Fashion-MNIST", _lists(FASHION), *sides


def _lists(names):
    return {language: text.split(",") for language, text in names.items()}
