package main

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"open-cluster-management.io/api/feature"
	workv1 "open-cluster-management.io/api/work/v1"
	addonv1alpha1 "open-cluster-management.io/ocm/pkg/addon/webhook/v1alpha1"
	addonv1beta1 "open-cluster-management.io/ocm/pkg/addon/webhook/v1beta1"
	"open-cluster-management.io/ocm/pkg/common/options"
	"open-cluster-management.io/ocm/pkg/features"
	clusterwebhook "open-cluster-management.io/ocm/pkg/registration/webhook/v1"
	bindingwebhook "open-cluster-management.io/ocm/pkg/registration/webhook/v1beta2"
	workwebhook "open-cluster-management.io/ocm/pkg/work/webhook"
	workvalidation "open-cluster-management.io/ocm/pkg/work/webhook/common"
	workwebhookv1 "open-cluster-management.io/ocm/pkg/work/webhook/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// newWebhooks runs every webhook of an OCM hub in one process: conversion of the add-on
// API, defaulting and validation of ManagedClusters and set bindings, and the size
// limit of ManifestWorks.
//
// OCM's own webhook commands would do, one process each, but for their health endpoint:
// it is fixed at port 8000 on all interfaces, so that a second hub on the machine would
// not start. Here there is none; whoever starts the process connects to its port.
func newWebhooks() *cobra.Command {
	var kubeconfig string
	opts := webhook.Options{Host: "127.0.0.1"}
	cmd := &cobra.Command{
		Use:   "webhooks",
		Short: "Serve the hub's conversion and admission webhooks",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return runWebhooks(kubeconfig, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "Kubeconfig of the hub.")
	flags.StringVar(&opts.Host, "host", opts.Host, "Address to listen on.")
	flags.IntVar(&opts.Port, "port", 9443, "Port to listen on.")
	flags.StringVar(&opts.CertDir, "certdir", "", "Folder with tls.crt and tls.key.")
	return cmd
}

func runWebhooks(kubeconfig string, opts webhook.Options) error {
	ctrl.SetLogger(klog.NewKlogr())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := webhookScheme()
	if err != nil {
		return err
	}
	config.QPS = -1 // as the apiserver of the hub: it protects itself
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		HealthProbeBindAddress: "0",
		Metrics:                server.Options{BindAddress: "0"},
		WebhookServer:          webhook.NewServer(opts),
	})
	if err != nil {
		return err
	}
	for _, gates := range []map[featuregate.Feature]featuregate.FeatureSpec{
		feature.DefaultHubRegistrationFeatureGates,
		feature.DefaultHubWorkFeatureGates,
	} {
		if err := features.HubMutableFeatureGate.Add(gates); err != nil {
			return err
		}
	}
	workvalidation.ManifestValidator.WithLimit(workwebhook.NewOptions().ManifestLimit)
	for _, w := range []options.WebhookInitializer{
		&addonv1alpha1.ManagedClusterAddOnWebhook{},
		&addonv1beta1.ManagedClusterAddOnWebhook{},
		&addonv1alpha1.ClusterManagementAddOnWebhook{},
		&addonv1beta1.ClusterManagementAddOnWebhook{},
		&clusterwebhook.ManagedClusterWebhook{},
		&bindingwebhook.ManagedClusterSetBindingWebhook{},
		&workwebhookv1.ManifestWorkWebhook{},
	} {
		if err := w.Init(mgr); err != nil {
			return err
		}
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func webhookScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme,
		addonv1alpha1.Install,
		addonv1beta1.Install,
		clusterv1.Install,
		bindingwebhook.Install,
		workv1.Install,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}
