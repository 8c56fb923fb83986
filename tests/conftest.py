import logging

import pytest


@pytest.fixture(autouse=True)
def _warnings_are_heard():
    """Some libraries switch off the loggers there are when they set up their own."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "reid_dhm" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
