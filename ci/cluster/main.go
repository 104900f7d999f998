// Command cluster runs a real single-node Kubernetes on this machine, from package registries alone.
package main

import (
	"os"

	"gateway-provisioners/ci/cluster/internal/cli"
)

func main() {
	os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr))
}
