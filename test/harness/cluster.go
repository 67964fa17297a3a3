package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/port"
)

const hubName = "hub"

// Controllers of the controller manager. A spoke has none for Deployments, ReplicaSets
// and DaemonSets: whoever plays the kubelet writes their status. Only the hub signs
// certificates, for klusterlets and add-on agents.
const (
	spokeControllers = "namespace,garbagecollector,serviceaccount,root-ca-cert-publisher,clusterrole-aggregation"
	hubControllers   = spokeControllers + ",csrsigning,csrapproving,csrcleaner"
)

// Cluster is a Kubernetes control plane: the hub, or a managed cluster with its klusterlet.
type Cluster struct {
	Name string

	env        *Env
	dir        string
	pki        *authority
	server     string // URL of the apiserver
	port       int
	config     *rest.Config
	client     client.Client
	heartbeats heartbeats

	controllers *Process // kube-controller-manager
	klusterlet  *Process // nil on the hub

	mu        sync.Mutex
	apiserver *Process // nil while stopped
}

// startCluster starts a control plane, without anything of OCM.
func (e *Env) startCluster(ctx context.Context, name string) (*Cluster, error) {
	c := newCluster(e, name)
	if err := c.prepare(); err != nil {
		return c, err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return c, err
	}
	e.progress("%s: kube-apiserver ready", name)
	return c, c.startControllers(ctx)
}

func newCluster(e *Env, name string) *Cluster {
	return &Cluster{Name: name, env: e, dir: filepath.Join(e.dir, "clusters", name)}
}

func (c *Cluster) prepare() (err error) {
	if c.pki, err = newAuthority(filepath.Join(c.dir, "pki"), c.Name); err != nil {
		return err
	}
	for _, issue := range []func() error{
		func() error { return c.pki.issueServer("apiserver") },
		func() error { return c.pki.issueClient("front-proxy", "front-proxy-client") },
	} {
		if err := issue(); err != nil {
			return err
		}
	}
	if c.port, err = port.Keep(); err != nil {
		return err
	}
	c.server = "https://" + loopback(c.port)
	if err := c.pki.writeClientKubeconfig(c.Kubeconfig(), c.Name, c.server, "admin", "system:masters"); err != nil {
		return err
	}
	err = c.pki.writeClientKubeconfig(c.file("controller-manager.kubeconfig"), c.Name, c.server, "system:kube-controller-manager")
	if err != nil {
		return err
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig()); err != nil {
		return err
	}
	c.config.QPS = -1 // the apiserver's own fairness will do
	return nil
}

// Kubeconfig is the path of a kubeconfig with all rights on the cluster.
func (c *Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// RESTConfig is a copy of the configuration behind Kubeconfig, not rate limited.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Client has all rights on the cluster and knows the types of core Kubernetes, OCM and
// custom resource definitions; others go as unstructured.Unstructured. It reads from
// the apiserver, not from a cache.
func (c *Cluster) Client() client.Client { return c.client }

// Server is the URL of the apiserver.
func (c *Cluster) Server() string { return c.server }

// TokenKubeconfig writes a kubeconfig that acts as the named service account, which must
// exist, and returns its path. This is how a process that stands for a pod gets the
// rights of its pod, no more.
func (c *Cluster) TokenKubeconfig(ctx context.Context, namespace, serviceAccount string) (string, error) {
	token, err := c.Token(ctx, namespace, serviceAccount)
	if err != nil {
		return "", err
	}
	path := c.file(namespace + "." + serviceAccount + ".kubeconfig")
	return path, c.pki.writeTokenKubeconfig(path, c.Name, c.server, token)
}

// Token asks the cluster for a bearer token of a service account, valid for a day or more.
func (c *Cluster) Token(ctx context.Context, namespace, serviceAccount string) (string, error) {
	lifetime := int64((7 * 24 * time.Hour).Seconds())
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}
	if err := c.client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("token of %s/%s on %s: %w", namespace, serviceAccount, c.Name, err)
	}
	return request.Status.Token, nil
}

// StartAPIServer starts the apiserver on the cluster's port and data, and returns when it
// is ready. It does nothing while the apiserver runs.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiserver != nil {
		return nil
	}
	process, err := c.env.run(ctx, ProcessSpec{
		Name:  c.Name + "-kube-apiserver",
		Path:  c.env.programs.kube,
		Args:  c.apiserverArgs(),
		Env:   []string{"GOGC=50"}, // 30 MB less each, for a little more work
		Ready: c.apiserverReady,
	})
	if err != nil {
		return err
	}
	c.apiserver = process
	if c.client != nil {
		return nil
	}
	c.client, err = newClient(c.config)
	return err
}

// StopAPIServer kills the apiserver and nothing else: what an outage of the cluster looks
// like to everybody who talks to it. Asked politely, it would keep its watchers
// connected for a while. Its data is in etcd.
func (c *Cluster) StopAPIServer(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiserver != nil {
		c.apiserver.Stop(0)
		c.apiserver = nil
	}
	return nil
}

func (c *Cluster) currentAPIServer() *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.apiserver
}

func (c *Cluster) apiserverArgs() []string {
	return []string{
		"kube-apiserver",
		"--etcd-servers=" + c.env.etcdURL,
		"--etcd-prefix=/" + c.Name,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.port),
		"--cert-dir=" + c.pki.dir,
		"--tls-cert-file=" + c.pki.file("apiserver.crt"),
		"--tls-private-key-file=" + c.pki.file("apiserver.key"),
		"--client-ca-file=" + c.pki.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki.file("sa.key"),
		"--service-account-signing-key-file=" + c.pki.file("sa.key"),
		// Without these the delegated authentication of OCM's agents logs an error every second.
		"--requestheader-client-ca-file=" + c.pki.file("ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}
}

func (c *Cluster) apiserverReady(ctx context.Context) error {
	transport, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return final(err)
	}
	defer transport.CloseIdleConnections()
	return getOK(ctx, transport, c.server+"/readyz")
}

func (c *Cluster) startControllers(ctx context.Context) (err error) {
	which := spokeControllers
	if c.Name == hubName {
		which = hubControllers
	}
	kubeconfig := c.file("controller-manager.kubeconfig")
	c.controllers, err = c.env.run(ctx, ProcessSpec{
		Name:    c.Name + "-kube-controller-manager",
		Path:    c.env.programs.kube,
		Restart: true,
		Args: []string{
			"kube-controller-manager",
			"--kubeconfig=" + kubeconfig,
			"--controllers=" + which,
			"--use-service-account-credentials=true",
			"--leader-elect=false",
			"--secure-port=0",
			"--profiling=false",
			"--root-ca-file=" + c.pki.file("ca.crt"),
			"--service-account-private-key-file=" + c.pki.file("sa.key"),
			"--cluster-signing-cert-file=" + c.pki.file("ca.crt"),
			"--cluster-signing-key-file=" + c.pki.file("ca.key"),
		},
	})
	return err
}

// stop ends everything of a managed cluster.
func (c *Cluster) stop() {
	c.stopNodes()
	stopAll(3*time.Second, c.klusterlet, c.controllers)
	stopAll(5*time.Second, c.currentAPIServer())
}

func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

func newClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme,
		apiextensionsv1.AddToScheme,
		clusterv1.Install,
		clusterv1alpha1.Install,
		clusterv1beta1.Install,
		clusterv1beta2.Install,
		addonv1alpha1.Install,
		addonv1beta1.Install,
		workv1.Install,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// httpReady asks a plain or TLS endpoint on this machine whether it is well. It trusts any
// certificate: those endpoints sign their own, and nothing but their status is used.
func httpReady(url string) func(context.Context) error {
	transport := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error { return getOK(ctx, transport, url) }
}

func getOK(ctx context.Context, transport *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return final(err)
	}
	response, err := transport.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status + ": " + string(body))
	}
	return nil
}
