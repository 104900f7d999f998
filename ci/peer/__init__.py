"""gateway-provisioners 0.5.0 from PyPI: its images and how it is run, to measure and to work with."""
