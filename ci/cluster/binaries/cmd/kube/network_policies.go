package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// queue is the number of the netfilter queue in which connections wait for a verdict.
const queue = 100

// runNetworkPolicies enforces NetworkPolicies with the engine of Kubernetes' SIG Network until a signal ends it. Its
// own program asks for a pod to run in, and for `queue` of nftables, which not every kernel has; here iptables leads
// new connections into the queue. 0.7.0 because later ones expect a runtime with NRI.
func runNetworkPolicies() int {
	options := flag.NewFlagSet("kube-network-policies", flag.ExitOnError)
	kubeconfig := options.String("kubeconfig", "", "the kubeconfig `file`")
	node := options.String("hostname-override", "", "the `name` of the node whose pods are looked after")
	health := options.String("health-address", "", "the `address` at which /healthz answers")
	_ = options.Parse(os.Args[1:])

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := enforce(ctx, *kubeconfig, *node, *health); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "kube-network-policies:", err)
		return 1
	}
	return 0
}

func enforce(ctx context.Context, kubeconfig, node, health string) (err error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	core := factory.Core().V1()
	controller, err := networkpolicy.NewController(
		client, factory.Networking().V1().NetworkPolicies(), core.Namespaces(), core.Pods(), nil, nil, nil, nil,
		// A test is better served by a connection too many than by one that is lost in a queue that is full.
		networkpolicy.Config{NodeName: node, QueueID: queue, FailOpen: true},
	)
	if err != nil {
		return err
	}
	if err := leadIntoQueue("-A"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leadIntoQueue("-D")) }()
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(health, http.HandlerFunc(listening)) }()
	go func() { failed <- controller.Run(ctx) }()
	factory.Start(ctx.Done())
	return <-failed
}

// leadIntoQueue adds or deletes the rule that asks for a verdict on each new connection from, to and between pods.
// `--queue-bypass` lets them pass while no process is there to give one. What the node itself sends is not asked about.
func leadIntoQueue(verb string) error {
	said, err := exec.Command("iptables", "--wait", verb, "FORWARD", "-m", "conntrack", "--ctstate", "NEW",
		"-j", "NFQUEUE", "--queue-num", strconv.Itoa(queue), "--queue-bypass").CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", verb, err, said)
	}
	return nil
}

// listening answers with 200 as soon as verdicts are given: the engine opens the queue when it knows all policies.
func listening(response http.ResponseWriter, _ *http.Request) {
	queues, err := os.ReadFile("/proc/net/netfilter/nfnetlink_queue")
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	for line := range strings.Lines(string(queues)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == strconv.Itoa(queue) {
			return
		}
	}
	http.Error(response, "the queue is not open yet", http.StatusServiceUnavailable)
}
