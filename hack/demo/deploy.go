package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/ocloud"
)

// deployment is what deploy and undeploy are told.
type deployment struct{ kubeconfig, values, image string }

func newDeployCommand() *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use: "deploy", Short: "Install the chart on the hub of KUBECONFIG", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.deploy(cmd.Context()) },
	}
	d.addFlags(cmd)
	cmd.Flags().StringVar(&d.values, "values", "", "file with values of the chart")
	cmd.Flags().StringVar(&d.image, "image", "", "repository:tag of the image")
	return cmd
}

func newUndeployCommand() *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use: "undeploy", Short: "Remove what deploy installed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.undeploy(cmd.Context()) },
	}
	d.addFlags(cmd)
	return cmd
}

func (d *deployment) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "of the hub")
}

func (d *deployment) hub() (*harness.Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("hub: set KUBECONFIG or --kubeconfig: %w", err)
	}
	return harness.Existing("hub", config)
}

func (d *deployment) deploy(ctx context.Context) error {
	hub, err := d.hub()
	if err != nil {
		return err
	}
	values, err := d.readValues()
	if err != nil {
		return err
	}
	chart, err := chartDir()
	if err != nil {
		return err
	}
	objects, err := hub.InstallChart(ctx, chart, "o2ims", ocloud.Namespace, values)
	if err != nil {
		return err
	}
	fmt.Printf("applied %d objects; next: clusteradm addon enable --names o2ims --clusters …\n", len(objects))
	return nil
}

func (d *deployment) readValues() (map[string]any, error) {
	values := map[string]any{}
	if d.values != "" {
		text, err := os.ReadFile(d.values)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &values); err != nil {
			return nil, fmt.Errorf("%s: %w", d.values, err)
		}
	}
	if d.image != "" {
		at := strings.LastIndex(d.image, ":")
		if at < 0 {
			return nil, fmt.Errorf("--image is %q, want repository:tag", d.image)
		}
		values["image"] = map[string]any{"repository": d.image[:at], "tag": d.image[at+1:]}
	}
	return values, nil
}

// undeploy removes every object that the chart can make, whatever the values were.
// Agents leave with their add-ons, which OCM removes with the ClusterManagementAddOn.
func (d *deployment) undeploy(ctx context.Context) error {
	hub, err := d.hub()
	if err != nil {
		return err
	}
	chart, err := chartDir()
	if err != nil {
		return err
	}
	everything := map[string]any{
		"testClient": map[string]any{"enabled": true}, "installAll": true,
		"networkPolicy":         map[string]any{"enabled": true},
		"addOnDeploymentConfig": map[string]any{"create": true},
		"manager":               map[string]any{"replicas": 2},
	}
	objects, err := harness.RenderChart(chart, "o2ims", ocloud.Namespace, everything)
	if err != nil {
		return err
	}
	for i := range objects {
		if objects[i].GetNamespace() == "" {
			continue
		}
		objects[i].SetNamespace(ocloud.Namespace)
	}
	namespace := unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ocloud.Namespace},
	}}
	if err := hub.DeleteObjects(ctx, append(objects, namespace)...); err != nil {
		return err
	}
	fmt.Println("removed o2ims from the hub")
	return nil
}

func chartDir() (string, error) {
	root, err := harness.RepositoryRoot()
	return filepath.Join(root, "charts", "o2ims"), err
}
