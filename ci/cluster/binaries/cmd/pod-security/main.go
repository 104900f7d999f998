// Command pod-security reads objects, in YAML or JSON, from its standard input. It names the pods among them and in
// their templates that Pod Security `restricted` refuses, says why, and ends with 1 when there is one.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	refused, err := check(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pod-security:", err)
		os.Exit(2)
	}
	if refused {
		os.Exit(1)
	}
}

func check(input io.Reader, output io.Writer) (refused bool, err error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return false, err
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	pods := admission.DefaultPodSpecExtractor{}
	documents := yaml.NewYAMLReader(bufio.NewReader(input))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return refused, nil
		}
		if err != nil {
			return false, err
		}
		object, kind, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) {
			continue // of another API than Kubernetes' own, or nothing but comments
		}
		if err != nil {
			return false, err
		}
		metadata, spec, err := pods.ExtractPodSpec(object)
		if err != nil || spec == nil {
			continue // a kind that has no pods
		}
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, metadata, spec))
		if !result.Allowed {
			refused = true
			named, err := meta.Accessor(object)
			if err != nil {
				return false, err
			}
			fmt.Fprintf(output, "%s %s: %s\n", kind.Kind, named.GetName(), result.ForbiddenDetail())
		}
	}
}
