package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// played is a namespace of the hub whose workloads a kubelet of ours plays. That the
// product's own manifests run proves little when whoever plays the kubelet is lenient;
// these tests ask it what they do not.
type played struct {
	t       *testing.T
	client  kubernetes.Interface
	kubelet *kubelet.Kubelet
	ns      string
}

const playedImage = "example.org/container:v1"

func play(t *testing.T) *played {
	t.Helper()
	t.Parallel()
	config := cloud.Env.Hub.RESTConfig()
	client := kubernetes.NewForConfigOrDie(config)
	ns := must[*corev1.Namespace](t)(client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kubelet-"}}, metav1.CreateOptions{}))
	program := buildContainer(t)
	k := must[*kubelet.Kubelet](t)(kubelet.Start(t.Context(), kubelet.Options{
		RESTConfig: config, ClusterName: "test", Namespaces: []string{ns.Name}, Dir: t.TempDir(),
		Images: func(image string) (kubelet.Rootfs, error) {
			if image != playedImage {
				return kubelet.Rootfs{}, errors.New("no such image")
			}
			return kubelet.Rootfs{Files: map[string]string{"/container": program}, Entrypoint: []string{"/container"}, User: 65532, Group: 65532}, nil
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}))
	t.Cleanup(k.Stop)
	c := &played{t, client, k, ns.Name}
	c.wait("default service account", func() bool {
		_, err := client.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return c
}

// buildContainer builds the program that shows what a container sees.
func buildContainer(t *testing.T) string {
	t.Helper()
	root := must[string](t)(harness.RepositoryRoot())
	program := filepath.Join(t.TempDir(), "container")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./test/harness/kubelet/testdata/container")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func (c *played) wait(what string, holds func() bool) {
	c.t.Helper()
	eventually(c.t.Context(), c.t, what, func(context.Context) error {
		if !holds() {
			return fmt.Errorf("pods %+v, problems %q: %w", c.kubelet.Pods(), c.kubelet.Problems(), ocloud.ErrNotYet)
		}
		return nil
	})
}

func (c *played) deployment(text string) *appsv1.Deployment {
	c.t.Helper()
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(text), &d); err != nil {
		c.t.Fatal(err)
	}
	return must[*appsv1.Deployment](c.t)(c.client.AppsV1().Deployments(c.ns).Create(c.t.Context(), &d, metav1.CreateOptions{}))
}

func (c *played) current(name string) *appsv1.Deployment {
	c.t.Helper()
	return must[*appsv1.Deployment](c.t)(c.client.AppsV1().Deployments(c.ns).Get(c.t.Context(), name, metav1.GetOptions{}))
}

func (c *played) change(name string, f func(*appsv1.Deployment)) {
	c.t.Helper()
	c.wait("update of "+name, func() bool {
		d := c.current(name)
		f(d)
		_, err := c.client.AppsV1().Deployments(c.ns).Update(c.t.Context(), d, metav1.UpdateOptions{})
		if err != nil && !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
		return err == nil
	})
}

func (c *played) pods(owner string) []kubelet.PodInfo {
	var list []kubelet.PodInfo
	for _, p := range c.kubelet.Pods() {
		if p.Owner == owner {
			list = append(list, p)
		}
	}
	return list
}

func (c *played) ready(name string, replicas int32) {
	c.t.Helper()
	c.wait(name+" to be ready", func() bool {
		s := c.current(name).Status
		return s.ReadyReplicas == replicas && s.UpdatedReplicas == replicas && s.Replicas == replicas && s.ObservedGeneration == c.current(name).Generation
	})
}

type seen struct {
	Args, Env     []string
	UID, GID      int
	Hostname      string
	Status, Files map[string]string
	RootWrite     string
}

func (c *played) see(service string, folders ...string) seen {
	c.t.Helper()
	address := must[string](c.t)(c.kubelet.ServiceAddress(c.ns, service))
	resp := must[*http.Response](c.t)(http.Get("http://" + address + "/see?" + url.Values{"folder": folders}.Encode()))
	defer func() { _ = resp.Body.Close() }()
	var v seen
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// web is a Deployment of which most fields matter.
const web = `
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {note: "x y"}}
    spec:
      terminationGracePeriodSeconds: 3
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      initContainers:
      - {name: first, image: "example.org/container:v1", args: [see, /nothing], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
      containers:
      - name: web
        image: example.org/container:v1
        args: [serve, "8080", "--id=$(POD_NAME)"]
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
        - {name: BOTH, value: "$(POD_IP)-$(NOTE)-$$(NOTE)"}
        ports: [{name: http, containerPort: 8080}]
        resources: {limits: {memory: 64Mi}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 2}
        volumeMounts:
        - {name: hub, mountPath: /var/run/o2ims/hub, readOnly: true}
        - {name: mixed, mountPath: /mixed}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - {name: hub, secret: {secretName: hub-kubeconfig}}
      - {name: tmp, emptyDir: {}}
      - name: mixed
        projected:
          sources:
          - serviceAccountToken: {audience: o2ims, expirationSeconds: 600, path: token}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: sub/ca.crt}]}
          - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
`

func (c *played) service(name, app string) {
	c.t.Helper()
	must[*corev1.Service](c.t)(c.client.CoreV1().Services(c.ns).Create(c.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intOrName("http")}}},
	}, metav1.CreateOptions{}))
}

func TestKubeletRunsDeployments(t *testing.T) {
	c := play(t)
	c.deployment(web)
	c.wait("the pod to miss its secret", func() bool {
		p := c.pods("Deployment/web")
		return len(p) == 1 && strings.Contains(p[0].State, `secret "hub-kubeconfig" not found`)
	})
	secret := must[*corev1.Secret](c.t)(c.client.CoreV1().Secrets(c.ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub-kubeconfig"}, StringData: map[string]string{"kubeconfig": "one"},
	}, metav1.CreateOptions{}))
	c.ready("web", 1)
	c.service("web", "web")
	c.wait("the service", func() bool { _, err := c.kubelet.ServiceAddress(c.ns, "web"); return err == nil })

	pod := c.pods("Deployment/web")[0]
	v := c.see("web", "/var/run", "/mixed")
	for _, want := range []string{"POD_IP=" + pod.IP, "NOTE=x y", "BOTH=" + pod.IP + "-x y-$(NOTE)", "LIMIT=64", "KUBERNETES_SERVICE_HOST=127.0.0.1"} {
		if !slices.Contains(v.Env, want) {
			t.Errorf("environment lacks %q: %q", want, v.Env)
		}
	}
	if want := "--id=" + pod.Name; v.Args[len(v.Args)-1] != want {
		t.Errorf("arguments = %q, want the last to be %s", v.Args, want)
	}
	if v.UID != 65532 || v.RootWrite == "" || v.Hostname != pod.Name {
		t.Errorf("uid %d, root write %q, host name %q", v.UID, v.RootWrite, v.Hostname)
	}
	if v.Files["/var/run/o2ims/hub/kubeconfig"] != "one" || !strings.Contains(v.Files["/mixed/labels"], `app="web"`) ||
		!strings.Contains(v.Files["/mixed/sub/ca.crt"], "BEGIN CERTIFICATE") || v.Files["/var/run/secrets/kubernetes.io/serviceaccount/namespace"] != c.ns {
		t.Errorf("files = %q", v.Files)
	}
	review := must[*authenticationv1.TokenReview](c.t)(c.client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: v.Files["/mixed/token"], Audiences: []string{"o2ims"}},
	}, metav1.CreateOptions{}))
	if !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:"+c.ns+":default" {
		t.Errorf("token review = %+v", review.Status)
	}
	c.wait("the service's name in the pod", func() bool {
		return strings.Contains(c.see("web", "/etc").Files["/etc/hosts"], "web."+c.ns+".svc.cluster.local")
	})
	// The service by its name, from inside.
	address := must[string](c.t)(c.kubelet.ServiceAddress(c.ns, "web"))
	for _, name := range []string{"web", "web." + c.ns + ".svc"} {
		resp := must[*http.Response](c.t)(http.Get("http://" + address + "/get?url=" + url.QueryEscape("http://"+name+"/healthz")))
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("GET http://%s/healthz from the pod: %d %s", name, resp.StatusCode, text)
		}
	}

	secret.StringData = map[string]string{"kubeconfig": "two"}
	must[*corev1.Secret](c.t)(c.client.CoreV1().Secrets(c.ns).Update(t.Context(), secret, metav1.UpdateOptions{}))
	c.wait("the changed secret", func() bool { return c.see("web", "/var/run/o2ims").Files["/var/run/o2ims/hub/kubeconfig"] == "two" })

	if err := c.kubelet.Kill(c.ns, pod.Name); err != nil {
		t.Fatal(err)
	}
	c.wait("a restart after the kill", func() bool { p := c.pods("Deployment/web")[0]; return p.Ready && p.Restarts == 1 && p.PID != pod.PID })
	if resp, err := http.Get("http://" + address + "/break"); err != nil {
		t.Fatal(err)
	} else {
		_ = resp.Body.Close()
	}
	c.wait("a restart by the liveness probe", func() bool { p := c.pods("Deployment/web")[0]; return p.Ready && p.Restarts == 2 })
	log := must[string](c.t)(c.kubelet.Logs(c.ns, pod.Name))
	for _, want := range []string{`"Args":["/container","see","/nothing"]`, "exit code 137; restart", "liveness probe failed", "ended by SIGTERM", "serving as " + pod.Name} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}

	c.change("web", func(d *appsv1.Deployment) { three := int32(3); d.Spec.Replicas = &three })
	c.ready("web", 3)
	before := c.pods("Deployment/web")
	c.change("web", func(d *appsv1.Deployment) { d.Spec.Template.Annotations["note"] = "new" })
	c.ready("web", 3)
	c.wait("the old pods to be gone", func() bool {
		now := c.pods("Deployment/web")
		return len(now) == 3 && !slices.ContainsFunc(now, func(p kubelet.PodInfo) bool {
			return slices.ContainsFunc(before, func(q kubelet.PodInfo) bool { return p.Name == q.Name })
		})
	})
	if got := c.see("web").Env; !slices.Contains(got, "NOTE=new") {
		t.Errorf("environment after the change of template = %q", got)
	}
	c.change("web", func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		d.Spec.Template.Annotations["note"] = "newer"
		one := int32(1)
		d.Spec.Replicas = &one
	})
	c.ready("web", 1)
	last := c.pods("Deployment/web")
	if err := c.client.AppsV1().Deployments(c.ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wait("no pods", func() bool { return len(c.pods("Deployment/web")) == 0 })
	if err := syscall.Kill(last[0].PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after the end: %v", last[0].PID, err)
	}
}

func TestKubeletStartsAndEndsContainers(t *testing.T) {
	c := play(t)
	c.deployment(`
metadata: {name: pair}
spec:
  selector: {matchLabels: {app: pair}}
  template:
    metadata: {labels: {app: pair}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000}
      containers:
      - name: stubborn
        image: example.org/container:v1
        args: [resist]
      - name: server
        image: example.org/container:v1
        command: [/container, serve]
        args: ["8080"]
        env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}}
        volumeMounts: [{name: login, mountPath: /login}]
      volumes: [{name: login, secret: {secretName: login, defaultMode: 0400}}]
`)
	must[*corev1.Secret](c.t)(c.client.CoreV1().Secrets(c.ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "login"}, StringData: map[string]string{"user": "smo"},
	}, metav1.CreateOptions{}))
	c.ready("pair", 1)
	c.service("pair", "pair")
	c.wait("the service", func() bool { _, err := c.kubelet.ServiceAddress(c.ns, "pair"); return err == nil })
	v := c.see("pair", "/login", "/var/run")
	if v.Files["/login/user"] != "smo" || !strings.HasPrefix(v.Files["/var/run"], "error") || v.UID != 1000 || v.GID != 2000 {
		t.Errorf("uid %d, gid %d, files %q", v.UID, v.GID, v.Files)
	}
	pod := c.pods("Deployment/pair")[0]
	c.change("pair", func(d *appsv1.Deployment) { zero := int32(0); d.Spec.Replicas = &zero })
	c.wait("no pods", func() bool { return len(c.pods("Deployment/pair")) == 0 })
	text, err := os.ReadFile(pod.LogPath)
	if err != nil || !strings.Contains(string(text), "did not end within 1s of SIGTERM: killed") {
		t.Errorf("log %q, %v", text, err)
	}
	if err := syscall.Kill(pod.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after the end: %v", pod.PID, err)
	}
}

func TestKubeletPassesOnWhatAdmissionSays(t *testing.T) {
	c := play(t)
	failure := func(name, text string) func() bool {
		return func() bool {
			for _, cond := range c.current(name).Status.Conditions {
				if cond.Type == appsv1.DeploymentReplicaFailure && cond.Status == corev1.ConditionTrue && strings.Contains(cond.Message, text) {
					return true
				}
			}
			return false
		}
	}
	plain := strings.NewReplacer("name: hub, mountPath: /var/run/o2ims/hub, readOnly: true", "name: tmp, mountPath: /x", "{name: hub, secret: {secretName: hub-kubeconfig}}", "{name: unused, emptyDir: {}}").Replace(web)
	c.deployment(strings.Replace(plain, "terminationGracePeriodSeconds: 3", "serviceAccountName: agent", 1))
	c.wait("the missing service account to be told", failure("web", `serviceaccount "agent" not found`))
	must[*corev1.ServiceAccount](c.t)(c.client.CoreV1().ServiceAccounts(c.ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "agent"}}, metav1.CreateOptions{}))
	c.ready("web", 1)

	ns := must[*corev1.Namespace](c.t)(c.client.CoreV1().Namespaces().Get(t.Context(), c.ns, metav1.GetOptions{}))
	ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	must[*corev1.Namespace](c.t)(c.client.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}))
	c.deployment(strings.NewReplacer("name: web}", "name: loose}", "app: web", "app: loose", "drop: [ALL]", "drop: []").Replace(plain))
	c.wait("Pod Security to speak", failure("loose", "violates PodSecurity"))

	root := strings.NewReplacer("name: web}", "name: root}", "app: web", "app: root", "runAsNonRoot: true", "runAsNonRoot: true, runAsUser: 0").Replace(plain)
	ns = must[*corev1.Namespace](c.t)(c.client.CoreV1().Namespaces().Get(t.Context(), c.ns, metav1.GetOptions{}))
	delete(ns.Labels, "pod-security.kubernetes.io/enforce")
	must[*corev1.Namespace](c.t)(c.client.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}))
	c.deployment(root)
	c.wait("runAsNonRoot to be honoured", func() bool {
		p := c.pods("Deployment/root")
		return len(p) == 1 && strings.Contains(p[0].State, "runAsNonRoot")
	})
	c.deployment(strings.NewReplacer("name: web}", "name: image}", "app: web", "app: image", "container:v1", "container:v2").Replace(plain))
	c.wait("the image to be missing", func() bool {
		p := c.pods("Deployment/image")
		return len(p) == 1 && strings.Contains(p[0].State, "ErrImagePull")
	})
}

func TestKubeletRunsDaemonSets(t *testing.T) {
	c := play(t)
	for i, n := range []corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "kt-a", Labels: map[string]string{"role": "worker"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "kt-b", Labels: map[string]string{"role": "worker"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "kt-c", Labels: map[string]string{"role": "worker"}}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k", Value: "v", Effect: "NoSchedule"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "kt-d"}},
	} {
		created := must[*corev1.Node](c.t)(c.client.CoreV1().Nodes().Create(t.Context(), &n, metav1.CreateOptions{}))
		t.Cleanup(func() { _ = c.client.CoreV1().Nodes().Delete(context.Background(), n.Name, metav1.DeleteOptions{}) })
		created.Spec.Taints = n.Spec.Taints
		created = must[*corev1.Node](c.t)(c.client.CoreV1().Nodes().Update(t.Context(), created, metav1.UpdateOptions{}))
		created.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("127.10.0.%d", i+1)}}
		must[*corev1.Node](c.t)(c.client.CoreV1().Nodes().UpdateStatus(t.Context(), created, metav1.UpdateOptions{}))
	}
	var d appsv1.DaemonSet
	if err := yaml.UnmarshalStrict([]byte(`
metadata: {name: probe}
spec:
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      hostNetwork: true
      nodeSelector: {role: worker}
      terminationGracePeriodSeconds: 2
      containers:
      - name: probe
        image: example.org/container:v1
        args: [serve, "8081"]
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe: {tcpSocket: {port: 8081}, periodSeconds: 1}
        volumeMounts: [{name: sys, mountPath: /host/sys, readOnly: true}]
      volumes: [{name: sys, hostPath: {path: /sys/class/net, type: Directory}}]
`), &d); err != nil {
		t.Fatal(err)
	}
	must[*appsv1.DaemonSet](c.t)(c.client.AppsV1().DaemonSets(c.ns).Create(t.Context(), &d, metav1.CreateOptions{}))
	status := func(want int32) func() bool {
		return func() bool {
			s := must[*appsv1.DaemonSet](c.t)(c.client.AppsV1().DaemonSets(c.ns).Get(t.Context(), "probe", metav1.GetOptions{})).Status
			return s.DesiredNumberScheduled == want && s.NumberReady == want && s.NumberAvailable == want && s.CurrentNumberScheduled == want
		}
	}
	c.wait("two nodes", status(2))
	for _, p := range c.pods("DaemonSet/probe") {
		if want := map[string]string{"kt-a": "127.10.0.1", "kt-b": "127.10.0.2"}[p.Node]; p.IP != want {
			t.Errorf("pod on %s has address %s, want %s", p.Node, p.IP, want)
		}
	}
	if err := c.client.CoreV1().Nodes().Delete(t.Context(), "kt-b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wait("one node", status(1))
	c.wait("one pod", func() bool { return len(c.pods("DaemonSet/probe")) == 1 })
	pid := c.pods("DaemonSet/probe")[0].PID
	c.kubelet.Stop()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after Stop: %v", pid, err)
	}
}

func intOrName(name string) intstr.IntOrString { return intstr.FromString(name) }
