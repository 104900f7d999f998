"""`jupyter image-bootstrap`: prepare and check an image, and start its kernels on trial."""
