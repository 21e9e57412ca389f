"""The exported models that the tests ask."""

import os

import pytest
import served_models
import stock_client
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


@pytest.fixture(scope="session")
def stock_program(tmp_path_factory):
    """The path of the stand-in for a stock server."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the folder that all workers share
    return stock_client.built_in(folder)


@pytest.fixture(scope="session")
def stock_server(stock_program):
    """It, running; a version that a test loads, it unloads."""
    server = stock_client.StockServer(stock_program)
    yield server
    server.close()
