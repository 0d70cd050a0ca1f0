"""Settings of the notebooks' kernels; `make setup` copies this file into .venv/etc/ipython."""

c = get_config()  # noqa: F821

# TensorFlow's C++ half writes process numbers and times to the terminal when it starts, whatever
# its own log level says. They belong there, and not into the outputs of a notebook.
c.IPKernelApp.capture_fd_output = False
