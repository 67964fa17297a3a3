// Command kube is a Kubernetes control plane in one binary: etcd, kube-apiserver and
// kube-controller-manager, chosen by the first argument, and kubectl, also when called
// by that name.
//
// One binary instead of three: they share most of their code, so it builds in one go,
// and the processes of a whole test environment share its pages. It lives in a module
// of its own because k8s.io/kubernetes can only be required with every staging module
// replaced, which must not leak into the product's go.mod.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		runKubectl(os.Args)
	}
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
	case "kubectl":
		runKubectl(os.Args[1:])
	default:
		exitUsage()
	}
}

// runKubectl takes the whole command line, the command's name included.
func runKubectl(argv []string) {
	os.Args = argv
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	os.Exit(0)
}

func run(cmd *cobra.Command) {
	cmd.SetArgs(os.Args[2:])
	os.Exit(cli.Run(cmd))
}

func exitUsage() {
	fmt.Fprintln(os.Stderr, "usage: kube etcd|kube-apiserver|kube-controller-manager|kubectl [flags]")
	os.Exit(2)
}
