"""`jupyter image-bootstrap`: prepare and check an image; a trial start of its kernels."""
