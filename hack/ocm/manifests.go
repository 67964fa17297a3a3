package main

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/openshift/library-go/pkg/assets"
	"github.com/spf13/cobra"
	"open-cluster-management.io/ocm/manifests"
	"sigs.k8s.io/yaml"
)

//go:embed bootstrap.yaml
var bootstrapManifests string

//go:embed klusterlet.yaml
var klusterletManifests string

// notForHub are the hub's manifests that have no place here: Services and Endpoints,
// since webhooks are reached by URL; per-add-on templates that OCM's controllers render
// themselves; and parts behind feature gates that are off.
var notForHub = regexp.MustCompile(`webhook-service\.yaml|-hosted\.yaml|/token-|/grpc-server/|clusterprofiles`)

// notForSpoke are the klusterlet's Deployments and what belongs to a gate that is off.
var notForSpoke = regexp.MustCompile(`-deployment\.yaml|clusterproperties`)

func newManifests() *cobra.Command {
	cmd := &cobra.Command{Use: "manifests", Short: "Print what OCM's operators would apply, as YAML"}
	var webhookURL, caFile string
	hub := &cobra.Command{
		Use:   "hub",
		Short: "CRDs, RBAC and webhook configurations of a hub",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := os.ReadFile(caFile)
			if err != nil {
				return err
			}
			return printHub(cmd.OutOrStdout(), webhookURL, ca)
		},
	}
	hub.Flags().StringVar(&webhookURL, "webhook-url", "", "Where `ocm webhooks` listens, such as https://127.0.0.1:9443.")
	hub.Flags().StringVar(&caFile, "webhook-ca", "", "PEM file of the authority that signed the webhooks' certificate.")
	spoke := &cobra.Command{
		Use:   "spoke",
		Short: "CRDs, namespaces and RBAC of a klusterlet",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printSpoke(cmd.OutOrStdout())
		},
	}
	cmd.AddCommand(hub, spoke)
	return cmd
}

func printHub(w io.Writer, webhookURL string, ca []byte) error {
	bundle := base64.StdEncoding.EncodeToString(ca)
	config := manifests.HubConfig{
		ClusterManagerName:             "cluster-manager",
		ClusterManagerNamespace:        "open-cluster-management-hub",
		OperatorNamespace:              "open-cluster-management",
		RegistrationAPIServiceCABundle: bundle,
		WorkAPIServiceCABundle:         bundle,
		AddonAPIServiceCABundle:        bundle,
		AddOnManagerEnabled:            true,
		WorkControllerEnabled:          true,
	}
	docs := strings.Split(bootstrapManifests, "\n---\n")
	for _, root := range []string{"cluster-manager/cluster-manager-namespace.yaml", "cluster-manager/hub"} {
		more, err := render(manifests.ClusterManagerManifestFiles, root, notForHub, config)
		if err != nil {
			return err
		}
		docs = append(docs, more...)
	}
	for _, doc := range docs {
		if err := printDocument(w, doc, webhookURL); err != nil {
			return err
		}
	}
	return nil
}

// printSpoke prints what a klusterlet in singleton mode needs. There registration and
// work run in one process under one service account; OCM's templates name two, which
// may be the same.
func printSpoke(w io.Writer) error {
	config := map[string]any{
		"KlusterletName":             "klusterlet",
		"KlusterletNamespace":        "open-cluster-management-agent",
		"AgentNamespace":             "open-cluster-management-agent",
		"RegistrationServiceAccount": "klusterlet-work-sa",
		"WorkServiceAccount":         "klusterlet-work-sa",
		"Labels":                     map[string]string{},
		"ManagedClusterRoleArn":      "",
	}
	docs := strings.Split(klusterletManifests, "\n---\n")
	more, err := render(manifests.KlusterletManifestFiles, "klusterlet", notForSpoke, config)
	if err != nil {
		return err
	}
	for _, doc := range append(docs, more...) {
		if err := printDocument(w, doc, ""); err != nil {
			return err
		}
	}
	return nil
}

// render returns the manifests below root, but those that skip matches, each filled in
// from config as OCM's operators do it.
func render(files fs.FS, root string, skip *regexp.Regexp, config any) ([]string, error) {
	var docs []string
	err := fs.WalkDir(files, root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || skip.MatchString(path) {
			return err
		}
		template, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		docs = append(docs, string(assets.MustCreateAssetFromTemplate(path, template, config).Data))
		return nil
	})
	return docs, err
}

func printDocument(w io.Writer, doc, webhookURL string) error {
	var object map[string]any
	if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
		return err
	}
	serviceToURL(object, webhookURL)
	dropRemovals(object)
	out, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "---\n%s", out)
	return err
}

// dropRemovals takes out annotations whose key ends in "-". With the library that OCM's
// operators apply by, that removes an annotation; an apiserver calls it invalid.
func dropRemovals(object map[string]any) {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	for key := range annotations {
		if strings.HasSuffix(key, "-") {
			delete(annotations, key)
		}
	}
}

// serviceToURL makes every webhook's client configuration below v name the URL at which
// the webhooks listen, in place of a Service that nothing would route.
func serviceToURL(v any, base string) {
	switch v := v.(type) {
	case map[string]any:
		if config, ok := v["clientConfig"].(map[string]any); ok {
			if service, ok := config["service"].(map[string]any); ok {
				config["url"] = fmt.Sprint(base, service["path"])
				delete(config, "service")
			}
		}
		for _, child := range v {
			serviceToURL(child, base)
		}
	case []any:
		for _, child := range v {
			serviceToURL(child, base)
		}
	}
}
