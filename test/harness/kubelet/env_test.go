package kubelet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// table is a cluster of a few objects.
type table struct {
	secrets    map[string]map[string][]byte
	configMaps map[string]map[string]string
	tokens     int // how many were asked for
	life       time.Duration
}

func (t *table) Secret(_, name string) (*corev1.Secret, error) {
	data, ok := t.secrets[name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("secret"), name)
	}
	return &corev1.Secret{Data: data}, nil
}

func (t *table) ConfigMap(_, name string) (*corev1.ConfigMap, error) {
	data, ok := t.configMaps[name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("configmap"), name)
	}
	return &corev1.ConfigMap{Data: data}, nil
}

func (t *table) Token(_ context.Context, namespace, account, audience string, life time.Duration) (string, time.Time, error) {
	t.tokens++
	t.life = life
	return strings.Join([]string{namespace, account, audience}, "/"), time.Now().Add(life), nil
}

func TestExpand(t *testing.T) {
	values := variables{"A": "1", "EMPTY": "", "NESTED": "$(A)"}
	lookup := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	for _, tc := range []struct{ in, want string }{
		{"plain", "plain"},
		{"$(A)", "1"},
		{"x$(A)y$(A)", "x1y1"},
		{"$(EMPTY)|", "|"},
		{"$(NESTED)", "$(A)"},
		{"$(UNKNOWN)", "$(UNKNOWN)"},
		{"$$(A)", "$(A)"},
		{"$$$(A)", "$1"},
		{"$A ${A}", "$A ${A}"},
		{"open $(A", "open $(A"},
		{"end $", "end $"},
	} {
		if got := expand(tc.in, lookup); got != tc.want {
			t.Errorf("expand(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func examplePod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "agent-1", Namespace: "addon", UID: "u-1",
			Labels: map[string]string{"app": "agent", "tier": "edge"}, Annotations: map[string]string{"o2ims/note": "a \"b\""},
		},
		Spec: corev1.PodSpec{
			NodeName: "edge-1", ServiceAccountName: "o2ims-agent",
			Containers: []corev1.Container{{
				Name: "agent",
				Resources: corev1.ResourceRequirements{
					Limits:   corev1.ResourceList{"memory": resource.MustParse("40Mi")},
					Requests: corev1.ResourceList{"cpu": resource.MustParse("1500m")},
				},
			}},
		},
		Status: corev1.PodStatus{PodIP: "127.40.0.2", HostIP: "127.40.0.1"},
	}
}

func TestFieldValue(t *testing.T) {
	pod := examplePod()
	for _, tc := range []struct {
		path, want string
		wantErr    bool
	}{
		{path: "metadata.name", want: "agent-1"},
		{path: "metadata.namespace", want: "addon"},
		{path: "metadata.uid", want: "u-1"},
		{path: "metadata.labels['app']", want: "agent"},
		{path: "metadata.labels['absent']"},
		{path: "metadata.annotations['o2ims/note']", want: `a "b"`},
		{path: "metadata.labels", want: "app=\"agent\"\ntier=\"edge\""},
		{path: "metadata.annotations", want: `o2ims/note="a \"b\""`},
		{path: "spec.nodeName", want: "edge-1"},
		{path: "spec.serviceAccountName", want: "o2ims-agent"},
		{path: "status.podIP", want: "127.40.0.2"},
		{path: "status.hostIP", want: "127.40.0.1"},
		{path: "status.phase", wantErr: true},
	} {
		got, err := fieldValue(pod, tc.path)
		if (err != nil) != tc.wantErr || got != tc.want {
			t.Errorf("fieldValue(%s) = %q, %v; want %q, error %t", tc.path, got, err, tc.want, tc.wantErr)
		}
	}
}

func TestResourceValue(t *testing.T) {
	pod := examplePod()
	node := &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"cpu": resource.MustParse("4")}}}
	for _, tc := range []struct{ resource, divisor, want string }{
		{"limits.memory", "0", "41943040"},
		{"limits.memory", "1Mi", "40"},
		{"requests.cpu", "0", "2"},
		{"requests.cpu", "1m", "1500"},
		{"limits.cpu", "0", "4"}, // not set: the node's
		{"requests.memory", "0", "0"},
	} {
		ref := &corev1.ResourceFieldSelector{Resource: tc.resource, Divisor: resource.MustParse(tc.divisor)}
		got, err := resourceValue(pod, &pod.Spec.Containers[0], node, ref)
		if err != nil || got != tc.want {
			t.Errorf("%s / %s = %q, %v; want %s", tc.resource, tc.divisor, got, err, tc.want)
		}
	}
	if _, err := resourceValue(pod, nil, node, &corev1.ResourceFieldSelector{ContainerName: "absent", Resource: "limits.cpu"}); err == nil {
		t.Error("a container that is not there: no error")
	}
}

func ptr[T any](v T) *T { return &v }

func TestEnvironment(t *testing.T) {
	secretKey := func(name, key string, optional *bool) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: optional,
		}}
	}
	objects := &table{
		secrets:    map[string]map[string][]byte{"login": {"user": []byte("smo")}},
		configMaps: map[string]map[string]string{"settings": {"LEVEL": "debug", "MODE": "a"}},
	}
	services := variables{"WEB_SERVICE_HOST": "127.40.0.9"}
	for _, tc := range []struct {
		name    string
		c       corev1.Container
		want    variables // besides the services'
		wantErr string
	}{
		{name: "none"},
		{
			name: "references look back only",
			c:    corev1.Container{Env: []corev1.EnvVar{{Name: "A", Value: "$(B)"}, {Name: "B", Value: "2"}, {Name: "C", Value: "$(B)$(WEB_SERVICE_HOST)"}}},
			want: variables{"A": "$(B)", "B": "2", "C": "2127.40.0.9"},
		},
		{
			name: "envFrom, overridden and referred to",
			c: corev1.Container{
				EnvFrom: []corev1.EnvFromSource{{Prefix: "X_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
				Env:     []corev1.EnvVar{{Name: "X_MODE", Value: "b"}, {Name: "L", Value: "$(X_LEVEL)"}},
			},
			want: variables{"X_LEVEL": "debug", "X_MODE": "b", "L": "debug"},
		},
		{
			name: "optional envFrom that is not there",
			c:    corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "no"}, Optional: ptr(true)}}}},
		},
		{name: "secret key", c: corev1.Container{Env: []corev1.EnvVar{{Name: "U", ValueFrom: secretKey("login", "user", nil)}}}, want: variables{"U": "smo"}},
		{name: "no such secret", c: corev1.Container{Env: []corev1.EnvVar{{Name: "U", ValueFrom: secretKey("no", "user", nil)}}}, wantErr: `secret "no" not found`},
		{name: "no such key", c: corev1.Container{Env: []corev1.EnvVar{{Name: "U", ValueFrom: secretKey("login", "no", nil)}}}, wantErr: "couldn't find key no in Secret addon/login"},
		{name: "optional key", c: corev1.Container{Env: []corev1.EnvVar{{Name: "U", ValueFrom: secretKey("login", "no", ptr(true))}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := environment(examplePod(), &tc.c, nil, services, objects)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error = %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			want := maps.Clone(services)
			maps.Copy(want, tc.want)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestServiceVariables(t *testing.T) {
	known := []serviceEntry{
		{"addon", "o2ims-web", "127.40.0.9", []corev1.ServicePort{{Name: "api", Port: 443, TargetPort: intstr.FromInt32(8443)}}},
		{"other", "hidden", "127.40.0.8", []corev1.ServicePort{{Port: 80}}},
	}
	got := serviceVariables(known, "addon").strings()
	want := []string{
		"O2IMS_WEB_PORT=tcp://127.40.0.9:443", "O2IMS_WEB_PORT_443_TCP=tcp://127.40.0.9:443", "O2IMS_WEB_PORT_443_TCP_ADDR=127.40.0.9",
		"O2IMS_WEB_PORT_443_TCP_PORT=443", "O2IMS_WEB_PORT_443_TCP_PROTO=tcp", "O2IMS_WEB_SERVICE_HOST=127.40.0.9",
		"O2IMS_WEB_SERVICE_PORT=443", "O2IMS_WEB_SERVICE_PORT_API=443",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCommandOf(t *testing.T) {
	image := Rootfs{Entrypoint: []string{"/o2ims"}}
	env := variables{"POD_IP": "127.40.0.2"}
	for _, tc := range []struct {
		name string
		c    corev1.Container
		want []string
	}{
		{"entrypoint and args", corev1.Container{Args: []string{"agent", "--bind-address=$(POD_IP)"}}, []string{"/o2ims", "agent", "--bind-address=127.40.0.2"}},
		{"command in its place", corev1.Container{Command: []string{"/bin/x"}, Args: []string{"y"}}, []string{"/bin/x", "y"}},
		{"entrypoint alone", corev1.Container{}, []string{"/o2ims"}},
	} {
		if got := commandOf(&tc.c, image, env); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
