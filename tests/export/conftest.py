"""The exported models that the tests ask."""

import pytest
import served_models
import tensorflow as tf


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    return served_models.served(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session", params=served_models.KINDS)
def model(request, served):
    return {"name": request.param, **served[request.param]}


@pytest.fixture(scope="session")
def loaded(served):
    """The SavedModel of the transformer, in this process."""
    return tf.saved_model.load(str(served["transformer"]["folder"]))
