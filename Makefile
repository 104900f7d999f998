# Aliases only: the work is done by the script or module that a target calls.
python := .venv/bin/python

.PHONY: help env demo clean-demo test-fast test test-all soak fuzz lint cluster clean-cluster engine clean-engine images check-image bench package pictures
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
env:
	@ci/env
demo: env ## run the example notebooks on kernel pods, one of a custom image; in containers: ENGINE=docker
	@$(python) -m ci.demo
clean-demo: env ## remove the demo, and the cluster or engine that was made for it: ENGINE=docker
	@$(python) -m ci.demo clean
test-fast: env ## run the tests that need no cluster, no engine and no image: under 3 minutes on two cores
	@ci/test.sh fast
test: env ## run the tests of every change, on a cluster that is made unless one runs
	@ci/test.sh
test-all: env ## run every test, those before a release as well
	@ci/test.sh all
soak: env ## an hour of random clients, then a hundred faults of a cluster: CLUSTER=local
	@ci/test.sh soak
pictures: env ## make the README's pictures of failures and progress, on the cluster
	@ci/pictures.sh
fuzz: env ## try hostile bytes on every decoder: FUZZ_MINUTES=10, FUZZ_SEED=... repeats a failure
	@ci/fuzz.sh
lint: env ## run every check that needs no cluster
	@ci/verify/all.sh
cluster: env ## bring up the cluster: CLUSTER=local, kind or current
	@$(python) -m ci.clusters up
clean-cluster: env ## take that cluster down
	@$(python) -m ci.clusters down
engine: env ## bring up a Docker engine for tests, without network access; or use yours: ENGINE_HOST=...
	@$(python) -m ci.docker_engine up
clean-engine: env ## take that engine down
	@$(python) -m ci.docker_engine down
images: env ## build the images: BUILDER=docker, podman or buildah, BASE_IMAGE=..., BASE_DIGEST=sha256:...
	@$(python) -m ci.images
check-image: env ## check an image as the gateway would start it: IMAGE=acme/data-sci-py:2.0 [LANGUAGE=python]
	@$(python) -m ci.check_image $(IMAGE) $(LANGUAGE:%=--language=%)
bench: env ## compare with gateway-provisioners 0.5.0, side by side; ONLY=docker without a cluster
	@$(python) -m ci.bench $(ONLY)
package: env ## put what a release publishes into dist/; PARTS=distributions makes the wheel and the sdist only
	@$(python) -m ci.package $(PARTS)
