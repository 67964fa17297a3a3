// Command kube is a Kubernetes control plane in one binary: etcd, kube-apiserver and
// kube-controller-manager, chosen by the first argument.
//
// One binary instead of three: they share most of their code, so it builds in one go,
// and the processes of a whole test environment share its pages. It lives in a module
// of its own because k8s.io/kubernetes can only be required with every staging module
// replaced, which must not leak into the product's go.mod.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		exitUsage()
	}
	switch os.Args[1] {
	case "etcd":
		etcdmain.Main(os.Args[1:])
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	default:
		exitUsage()
	}
}

func run(cmd *cobra.Command) {
	cmd.SetArgs(os.Args[2:])
	os.Exit(cli.Run(cmd))
}

func exitUsage() {
	fmt.Fprintln(os.Stderr, "usage: kube etcd|kube-apiserver|kube-controller-manager [flags]")
	os.Exit(2)
}
