package ocloud

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/kubelet"
)

//go:embed monitoring.yaml
var monitoringManifests []byte

// MonitoringNamespace is where a managed cluster's Alertmanager and Prometheus are.
const MonitoringNamespace = "monitoring"

const (
	alertsCA  = "o2ims-alerts-ca" // ConfigMap that says whom senders of alerts are to trust
	rulesMap  = "prometheus-rules"
	rulesPath = "/etc/prometheus-rules" // where Prometheus sees that
)

// Monitoring is an Alertmanager and a Prometheus that run in a managed cluster.
type Monitoring struct {
	Alertmanager, Prometheus string // URLs that this machine can reach

	spoke *Spoke
}

// monitoringVariables tell agents whom to ask. The names mean another Alertmanager in each
// managed cluster, and nobody in those that have none.
func monitoringVariables() []any {
	return []any{
		map[string]any{"name": "ALERTMANAGER_URL", "value": "http://alertmanager.monitoring.svc:9093"},
		map[string]any{"name": "PROMETHEUS_URL", "value": "http://prometheus.monitoring.svc:9090"},
		map[string]any{"name": "ALERT_POLL_INTERVAL", "value": "2s"},
		map[string]any{"name": "ALERTS_MIN_INTERVAL", "value": "500ms"},
	}
}

// StartMonitoring does in a managed cluster what docs/alertmanager.md tells its administrator
// to do, and returns when both programs are ready. The add-on must be enabled.
func (o *OCloud) StartMonitoring(ctx context.Context, cluster string) (*Monitoring, error) {
	for _, program := range []string{"prometheus-alertmanager", "prometheus"} { // packages are named alike
		if _, err := harness.EnsureCommand(ctx, program, program, o.progress); err != nil {
			return nil, err
		}
	}
	s := o.Spoke(cluster)
	objects, err := harness.ParseObjects(monitoringManifests)
	if err == nil {
		err = s.Apply(ctx, objects...)
	}
	if err != nil {
		return nil, fmt.Errorf("monitoring of %s: %w", cluster, err)
	}
	err = o.Eventually(ctx, "the CA of the agent of "+cluster, func(ctx context.Context) error { return s.copyAlertsCA(ctx) })
	if err != nil {
		return nil, err
	}
	m := &Monitoring{spoke: s}
	for name, url := range map[string]*string{"alertmanager": &m.Alertmanager, "prometheus": &m.Prometheus} {
		err := o.Eventually(ctx, name+" of "+cluster, func(ctx context.Context) error {
			address, err := s.Kubelet.ServiceAddress(MonitoringNamespace, name)
			if err != nil {
				return err
			}
			*url = "http://" + address
			return call(ctx, http.MethodGet, *url+"/-/ready", nil)
		})
		if err != nil {
			return nil, err
		}
	}
	o.say("%s: alertmanager and prometheus are ready", cluster)
	return m, nil
}

// LetIn makes the accounts of monitoring and lets them send alerts to the agent, without
// running anything.
func (s *Spoke) LetIn(ctx context.Context) error {
	objects, err := harness.ParseObjects(monitoringManifests)
	if err != nil {
		return err
	}
	accounts := []string{"Namespace", "ServiceAccount", "ClusterRoleBinding"}
	return s.Apply(ctx, slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return !slices.Contains(accounts, o.GetKind()) })...)
}

// copyAlertsCA copies the CA that the agent published to where senders can mount it.
func (s *Spoke) copyAlertsCA(ctx context.Context) error {
	var published corev1.ConfigMap
	if err := s.Client().Get(ctx, client.ObjectKey{Namespace: AgentNamespace, Name: alertsCA}, &published); err != nil {
		return err
	}
	replica := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: MonitoringNamespace, Name: alertsCA}, Data: published.Data}
	return client.IgnoreAlreadyExists(s.Client().Create(ctx, replica))
}

// Pod is the pod of "alertmanager" or "prometheus".
func (m *Monitoring) Pod(name string) (kubelet.PodInfo, error) {
	pods := podsOf(m.spoke.Kubelet, "Deployment/"+name)
	if len(pods) != 1 {
		return kubelet.PodInfo{}, fmt.Errorf("%d pods of %s in %s: %w", len(pods), name, m.spoke.Name, ErrNotYet)
	}
	return pods[0], nil
}

// SetRules replaces alerting rules of the site, a YAML file of rule groups in the ConfigMap
// prometheus-rules, and has Prometheus read them. file is "site.yml" or "watchdog.yml"; the
// text that was there is returned.
func (o *OCloud) SetRules(ctx context.Context, m *Monitoring, file, text string) (before string, err error) {
	var rules corev1.ConfigMap
	if err := m.spoke.Client().Get(ctx, client.ObjectKey{Namespace: MonitoringNamespace, Name: rulesMap}, &rules); err != nil {
		return "", err
	}
	before = rules.Data[file]
	patch := client.MergeFrom(rules.DeepCopy())
	rules.Data[file] = text
	if err := m.spoke.Client().Patch(ctx, &rules, patch); err != nil {
		return before, err
	}
	err = o.Eventually(ctx, file+" in the hands of Prometheus", func(ctx context.Context) error {
		pod, err := m.Pod("prometheus")
		if err != nil {
			return err
		}
		mounted, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pod.PID), "root", rulesPath, file))
		if err == nil && string(mounted) != text {
			err = fmt.Errorf("it has what was before: %w", ErrNotYet)
		}
		if err != nil {
			return err
		}
		return call(ctx, http.MethodPost, m.Prometheus+"/-/reload", nil)
	})
	return before, err
}

// Amtool runs amtool against the Alertmanager and returns what it printed.
func (m *Monitoring) Amtool(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "amtool", append([]string{"--alertmanager.url=" + m.Alertmanager}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("amtool %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// PostAlerts sends alerts to the Alertmanager as Prometheus does, a JSON array of them.
func (m *Monitoring) PostAlerts(ctx context.Context, alerts []byte) error {
	return call(ctx, http.MethodPost, m.Alertmanager+"/api/v2/alerts", alerts)
}

// call sends a request that has to be answered with 200.
func call(ctx context.Context, method, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if _, err := okBody(response); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return nil
}

// debianImage is an image of one program of this machine: the program, the libraries that it
// is linked with, and further files.
func debianImage(program string, further ...string) (kubelet.Rootfs, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return kubelet.Rootfs{}, err
	}
	libraries, err := linkedWith(path)
	if err != nil {
		return kubelet.Rootfs{}, err
	}
	image := kubelet.Rootfs{Files: map[string]string{path: path}, Entrypoint: []string{path}, User: 65534, Group: 65534}
	for _, file := range append(libraries, further...) {
		if _, err := os.Stat(file); err == nil { // what is in the package of one release only
			image.Files[file] = file
		}
	}
	return image, nil
}

// linkedWith are the paths of a program's shared libraries and of its loader; none for one
// that is linked statically.
func linkedWith(program string) ([]string, error) {
	out, err := exec.Command("ldd", program).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, nil // "not a dynamic executable"
	}
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	return libraryPaths(string(out)), nil
}

// libraryPaths reads what ldd prints: lines such as "libc.so.6 => /lib/libc.so.6 (0x00007f)"
// and, for the loader, "/lib64/ld-linux-x86-64.so.2 (0x00007f)".
func libraryPaths(text string) []string {
	var paths []string
	for line := range strings.Lines(text) {
		if _, behind, arrow := strings.Cut(line, "=>"); arrow {
			line = behind
		}
		if fields := strings.Fields(line); len(fields) > 0 && filepath.IsAbs(fields[0]) {
			paths = append(paths, fields[0])
		}
	}
	return paths
}
