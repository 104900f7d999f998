"""gateway-provisioners 0.5.0 from PyPI: its images and how it is deployed, to measure and to work with."""
