"""Files of images, as Fashion-MNIST and scikit-learn have them."""

import gzip

import numpy as np
import pytest

from keras_attention.examples import image_files


def test_idx_files_are_read_in_their_order(tmp_path):
    path = tmp_path / "images.gz"
    content = bytes([0, 0, 8, 3, *(0, 0, 0, 2), *(0, 0, 0, 1), *(0, 0, 0, 3)])
    with gzip.open(path, "w") as file:
        file.write(content + bytes([1, 2, 3, 4, 5, 255]))
    found = image_files.read_idx(path)
    assert found.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


def test_sample_of_fashion_is_read_with_two_languages(tmp_path):
    image_files.write_sample(tmp_path)
    data, names, *sides = image_files.read_images(tmp_path)
    assert data == "Fashion-MNIST" and data in image_files.PUBLISHED
    assert names["german"][3] == "kleid" and names["english"][3] == "dress"
    for (images, labels), number in zip(sides, (128, 32), strict=True):
        assert images.shape == (number, 28, 28, 1)
        assert images.dtype == np.float32 and images.max() == 1
        assert labels.tolist() == [n % 10 for n in range(number)]
        bars = images[..., 0].mean(axis=2).argmax(axis=1)
        np.testing.assert_array_equal(bars, 2 * labels + 4)


def test_digits_are_read_in_halves(tmp_path):
    rows = [[*range(60), 0, 8, 0, 16, digit] for digit in (7, 0, 9, 3, 1)]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(text.encode()))
    data, names, training, test = image_files.read_images(tmp_path)
    assert data == "digits 8x8" and data in image_files.PUBLISHED
    assert training[1].tolist() == [7, 0] and test[1].tolist() == [9, 3, 1]
    assert training[0].shape == (2, 8, 8, 1)
    assert test[0][0, 7, 4:, 0].tolist() == [0, 0.5, 0, 1]
    assert names["german"][5] == "fünf"


def test_each_class_has_a_name_of_its_own():
    for names in (image_files.FASHION, image_files.DIGITS):
        for text in names.values():
            assert len(set(text.split(","))) == 10


def test_missing_file_is_named(tmp_path):
    image_files.write_sample(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="holds the file 't10k-labels-idx1-"):
        image_files.read_images(tmp_path)
