"""Settings of the notebooks' kernels; `make setup` copies this file into .venv/etc/ipython."""

import logging

c = get_config()  # noqa: F821

# TensorFlow's C++ half writes process numbers and times to the terminal when it starts, whatever
# its own log level says. They belong there, and not into the outputs of a notebook.
c.IPKernelApp.capture_fd_output = False

# Its Python half warns of graphs that are made again, as in a comparison of several networks, by
# addresses that are others each time. (Its own level is set when it is imported.)
logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
