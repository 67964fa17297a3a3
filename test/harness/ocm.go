package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/port"
)

// Namespaces of OCM: its hub components, what joining clusters need, the klusterlet.
const (
	hubNamespace        = "open-cluster-management-hub"
	bootstrapNamespace  = "open-cluster-management"
	bootstrapAccount    = "agent-registration-bootstrap"
	klusterletNamespace = "open-cluster-management-agent"
	klusterletAccount   = "klusterlet-work-sa"
)

// addonLeaseInterval is how often a klusterlet looks at the Leases of add-on agents.
// OCM's 30 seconds would be the longest wait of most tests.
const addonLeaseInterval = "2s"

// startHub installs OCM on the hub and starts its processes.
func (e *Env) startHub(ctx context.Context) error {
	webhookPort, err := port.Keep()
	if err != nil {
		return err
	}
	if err := e.Hub.pki.issueServer("tls"); err != nil {
		return err
	}
	objects, err := e.ocmManifests(ctx, "hub",
		"--webhook-url=https://"+loopback(webhookPort), "--webhook-ca="+e.Hub.pki.file("ca.crt"))
	if err != nil {
		return err
	}
	info, err := e.clusterInfo()
	if err != nil {
		return err
	}
	if err := e.Hub.Apply(ctx, append(objects, info)...); err != nil {
		return err
	}
	e.progress("hub: CRDs and RBAC applied")
	return e.startHubProcesses(ctx, webhookPort)
}

func (e *Env) startHubProcesses(ctx context.Context, webhookPort int) error {
	bootstrap := "system:serviceaccount:" + bootstrapNamespace + ":" + bootstrapAccount
	specs := []struct {
		command, account string
		args             []string
	}{
		{"registration", "registration-controller-sa", []string{
			"--feature-gates=DefaultClusterSet=true,ManagedClusterAutoApproval=true",
			"--auto-approved-csr-users=" + bootstrap,
		}},
		{"placement", "placement-controller-sa", nil},
		{"work-manager", "work-controller-sa", nil},
		{"addon-manager", "addon-manager-controller-sa", nil},
	}
	starts := []func(context.Context) error{func(ctx context.Context) error {
		return e.startWebhooks(ctx, webhookPort)
	}}
	e.ocm = make([]*Process, len(specs)+1)
	for i, s := range specs {
		starts = append(starts, func(ctx context.Context) error {
			process, err := e.startController(ctx, s.command, s.account, s.args...)
			e.ocm[i] = process
			return err
		})
	}
	return together(ctx, starts...)
}

// startController starts one of OCM's hub controllers under its own service account.
func (e *Env) startController(ctx context.Context, command, account string, args ...string) (*Process, error) {
	kubeconfig, err := e.Hub.TokenKubeconfig(ctx, hubNamespace, account)
	if err != nil {
		return nil, err
	}
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	return e.run(ctx, ProcessSpec{
		Name:    "hub-" + command,
		Path:    e.programs.ocm,
		Restart: true,
		Args: append([]string{
			command,
			"--kubeconfig=" + kubeconfig,
			"--namespace=" + hubNamespace,
			"--listen=" + loopback(port),
			"--disable-leader-election",
		}, args...),
		Env:   []string{"POD_NAME=" + command, "POD_NAMESPACE=" + hubNamespace},
		Ready: httpReady("https://" + loopback(port) + "/healthz"),
	})
}

// startWebhooks starts the conversion and admission webhooks. OCM runs them under three
// accounts; in one process they take the rights of registration's, which include what
// the others have.
func (e *Env) startWebhooks(ctx context.Context, port int) error {
	kubeconfig, err := e.Hub.TokenKubeconfig(ctx, hubNamespace, "registration-webhook-sa")
	if err != nil {
		return err
	}
	process, err := e.run(ctx, ProcessSpec{
		Name:    "hub-webhooks",
		Path:    e.programs.ocm,
		Restart: true,
		Args: []string{
			"webhooks",
			"--kubeconfig=" + kubeconfig,
			"--host=127.0.0.1",
			fmt.Sprintf("--port=%d", port),
			"--certdir=" + e.Hub.pki.dir,
		},
		Ready: tlsReady(loopback(port)),
	})
	e.ocm[len(e.ocm)-1] = process
	return err
}

// tlsReady asks whether somebody completes a TLS handshake at the address.
func tlsReady(address string) func(context.Context) error {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: time.Second},
		Config:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // only whether it answers
	}
	return func(ctx context.Context) error {
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// ocmManifests returns what OCM's operators would apply.
func (e *Env) ocmManifests(ctx context.Context, args ...string) ([]unstructured.Unstructured, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, e.programs.ocm, append([]string{"manifests"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ocm manifests %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return ParseObjects(out)
}

// clusterInfo is the ConfigMap by which kubeadm publishes how to reach a cluster, and
// clusteradm looks for it.
func (e *Env) clusterInfo() (unstructured.Unstructured, error) {
	anonymous := e.Hub.pki.kubeconfigFor("", e.Hub.server, nil)
	anonymous.AuthInfos, anonymous.Contexts = nil, nil
	text, err := clientcmd.Write(*anonymous)
	if err != nil {
		return unstructured.Unstructured{}, err
	}
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": "cluster-info", "namespace": metav1.NamespacePublic},
		"data":       map[string]any{"kubeconfig": string(text)},
	}}, nil
}

// ClusterOptions are the choices for one managed cluster.
type ClusterOptions struct {
	// ClusterSet is the ManagedClusterSet that the cluster joins; it is made when missing.
	// "" is OCM's set "default".
	ClusterSet string
}

// AddManagedCluster starts a cluster with a klusterlet that joins the hub, and returns
// when the hub calls it Available. Several may be added side by side.
func (e *Env) AddManagedCluster(ctx context.Context, name string, opts ClusterOptions) (*Cluster, error) {
	if err := e.reserve(name); err != nil {
		return nil, err
	}
	c, err := e.startCluster(ctx, name)
	e.register(name, c)
	if err != nil {
		return nil, fmt.Errorf("managed cluster %s: %w", name, err)
	}
	if err := e.join(ctx, c, opts); err != nil {
		return nil, fmt.Errorf("managed cluster %s: %w", name, err)
	}
	e.progress("%s: ManagedCluster Available", name)
	return c, nil
}

func (e *Env) reserve(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.clusters[name]; taken || name == hubName {
		return fmt.Errorf("managed cluster %s: the name is taken", name)
	}
	if e.stopped {
		return fmt.Errorf("managed cluster %s: the environment is stopped", name)
	}
	e.clusters[name] = nil // the name is taken, the cluster not there yet
	return nil
}

func (e *Env) register(name string, c *Cluster) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clusters[name] = c
}

func (e *Env) join(ctx context.Context, c *Cluster, opts ClusterOptions) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	objects, err := e.spokeManifests()
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects...); err != nil {
		return err
	}
	if err := e.startKlusterlet(ctx, c); err != nil {
		return err
	}
	if opts.ClusterSet != "" {
		if err := e.assignClusterSet(ctx, c.Name, opts.ClusterSet); err != nil {
			return err
		}
	}
	return e.WaitAvailable(ctx, c.Name)
}

// startKlusterlet starts registration and work agent in one process, as OCM's singleton
// mode does, under the klusterlet's own service account on the spoke.
func (e *Env) startKlusterlet(ctx context.Context, c *Cluster) error {
	token, err := e.Hub.Token(ctx, bootstrapNamespace, bootstrapAccount)
	if err != nil {
		return err
	}
	bootstrap := c.file("bootstrap-hub.kubeconfig")
	if err := e.Hub.pki.writeTokenKubeconfig(bootstrap, hubName, e.Hub.server, token); err != nil {
		return err
	}
	kubeconfig, err := c.TokenKubeconfig(ctx, klusterletNamespace, klusterletAccount)
	if err != nil {
		return err
	}
	port, err := port.Keep()
	if err != nil {
		return err
	}
	hubDir := c.file("hub-kubeconfig")
	c.klusterlet, err = e.run(ctx, ProcessSpec{
		Name:    c.Name + "-klusterlet",
		Path:    e.programs.ocm,
		Restart: true,
		Args: []string{
			"klusterlet",
			"--spoke-cluster-name=" + c.Name,
			"--spoke-external-server-urls=" + c.server,
			"--kubeconfig=" + kubeconfig,
			"--namespace=" + klusterletNamespace,
			"--bootstrap-kubeconfig=" + bootstrap,
			"--hub-kubeconfig-dir=" + hubDir,
			"--workload-source-driver=kube",
			"--workload-source-config=" + hubDir + "/kubeconfig",
			"--status-sync-interval=10s",
			"--cluster-healthcheck-period=10s",
			"--addon-lease-sync-interval=" + addonLeaseInterval,
			"--listen=" + loopback(port),
			"--disable-leader-election",
		},
		Env: []string{"POD_NAME=klusterlet", "POD_NAMESPACE=" + klusterletNamespace},
	})
	return err
}

// assignClusterSet moves a cluster into a set, as a hub administrator does.
func (e *Env) assignClusterSet(ctx context.Context, name, set string) error {
	err := e.Hub.client.Create(ctx, &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: set}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("cluster set %s: %w", set, err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, clusterv1beta2.ClusterSetLabel, set)
	return poll(ctx, 100*time.Millisecond, func() error { // until the klusterlet has made it
		cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
		err := e.Hub.client.Patch(ctx, cluster, client.RawPatch("application/merge-patch+json", patch))
		if err != nil && !apierrors.IsNotFound(err) {
			return final(err)
		}
		return err
	})
}

// WaitAvailable returns when the hub calls the managed cluster Available.
func (e *Env) WaitAvailable(ctx context.Context, name string) error {
	return poll(ctx, 100*time.Millisecond, func() error {
		var cluster clusterv1.ManagedCluster
		if err := e.Hub.client.Get(ctx, client.ObjectKey{Name: name}, &cluster); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable) {
			return fmt.Errorf("ManagedCluster %s is not Available: %s", name, conditionsText(cluster.Status.Conditions))
		}
		return nil
	})
}

func conditionsText(conditions []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "%s=%s (%s) ", c.Type, c.Status, c.Reason)
	}
	return b.String()
}

// Detach removes a managed cluster as a hub administrator does: its ManagedCluster is
// deleted, and when OCM has cleaned up on the hub, the cluster is stopped. Add-ons with
// finalizers need their manager to be running, or ctx ends first.
func (e *Env) Detach(ctx context.Context, name string) error {
	c := e.Cluster(name)
	if c == nil {
		return fmt.Errorf("managed cluster %s: there is none", name)
	}
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := client.IgnoreNotFound(e.Hub.client.Delete(ctx, cluster)); err != nil {
		return err
	}
	err := poll(ctx, 100*time.Millisecond, func() error {
		err := e.Hub.client.Get(ctx, client.ObjectKeyFromObject(cluster), cluster)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("still there, with finalizers %v", cluster.Finalizers)
	})
	if err != nil {
		return fmt.Errorf("detach of %s: %w", name, err)
	}
	c.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.clusters, name)
	return nil
}

// Clusteradm runs clusteradm against the hub, as its administrator, and returns what it
// printed on standard output.
func (e *Env) Clusteradm(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, e.programs.clusteradm, append(args, "--kubeconfig="+e.Hub.Kubeconfig())...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("clusteradm %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// ClusteradmPath is the built clusteradm, for a person to use with Hub.Kubeconfig.
func (e *Env) ClusteradmPath() string { return e.programs.clusteradm }

// KubePath is the path of the binary that is etcd, the apiserver and the controller
// manager, and kubectl when it is called by that name.
func (e *Env) KubePath() string { return e.programs.kube }
