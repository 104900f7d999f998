"""The program that is a kernel for Jupyter clients of this machine, and passes all on to one of a gateway."""
