// What ci/check_manifests.py reads CustomResourceDefinitions from. No Go code here needs these modules, so
// `go mod tidy` would drop them; `go get` changes a version.
module gateway-provisioners/ci/crds

go 1.24.0

require (
	github.com/cert-manager/cert-manager v1.18.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.3.0
)
