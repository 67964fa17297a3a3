package kubelet

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestHostsFile(t *testing.T) {
	services := []serviceEntry{{"addon", "web", "127.40.0.9", nil}, {"default", "kubernetes", "127.40.0.8", nil}}
	const own = "127.40.0.9\tweb\tweb.addon\tweb.addon.svc\tweb.addon.svc.cluster.local\n"
	const other = "127.40.0.8\tkubernetes.default\tkubernetes.default.svc\tkubernetes.default.svc.cluster.local\n"
	for _, tc := range []struct {
		name   string
		change func(*corev1.PodSpec)
		has    []string
		hasNot string
	}{
		{"a pod", func(*corev1.PodSpec) {}, []string{"127.0.0.1\tlocalhost\n", "127.40.0.2\tagent-1\n", own, other}, "\tkubernetes\t"},
		{"aliases", func(s *corev1.PodSpec) {
			s.HostAliases = []corev1.HostAlias{{IP: "127.9.9.9", Hostnames: []string{"smo", "ric"}}}
		}, []string{"127.9.9.9\tsmo\tric\n"}, "no such"},
		{"on the node's network", func(s *corev1.PodSpec) { s.HostNetwork = true; s.DNSPolicy = corev1.DNSClusterFirst }, nil, "web"},
		{"with the cluster's names", func(s *corev1.PodSpec) { s.HostNetwork = true; s.DNSPolicy = corev1.DNSClusterFirstWithHostNet }, []string{own}, "no such"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := examplePod()
			tc.change(&pod.Spec)
			got := hostsFile(pod, "agent-1", services)
			for _, want := range tc.has {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, want it to have %q", got, want)
				}
			}
			if strings.Contains(got, tc.hasNot) {
				t.Errorf("got %q, want it not to have %q", got, tc.hasNot)
			}
		})
	}
}

func TestWriteInPlaceKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := writeInPlace(path, "a long first text"); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeInPlace(path, "short"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "short" || !os.SameFile(before, after) {
		t.Errorf("content %q, %v, same file %t; want the new content in the same file", text, err, os.SameFile(before, after))
	}
}

func TestServicesFollowThePods(t *testing.T) {
	addrs, err := reserveAddresses()
	if err != nil {
		t.Fatal(err)
	}
	defer addrs.close()
	pod := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, name) }))
	}
	first, second := pod("first"), pod("second")
	defer first.Close()
	defer second.Close()
	target := first.Listener.Addr().String()
	s := newServices(addrs, func(*corev1.Service, corev1.ServicePort) (string, error) {
		if target == "" {
			return "", fault.Unavailable
		}
		return target, nil
	}, "127.0.0.1:1", slog.New(slog.DiscardHandler))
	defer s.close()

	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "addon", Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8080}}},
	}
	s.update([]*corev1.Service{service})
	address, err := s.address("addon", "web")
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() string {
		resp, err := client.Get("http://" + address)
		if err != nil {
			return "error"
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	if got := get(); got != "first" {
		t.Errorf("answer %q, want first", got)
	}
	target = second.Listener.Addr().String()
	s.update([]*corev1.Service{service})
	if got := get(); got != "second" {
		t.Errorf("answer after the move %q, want second", got)
	}
	target = ""
	if got := get(); got != "error" {
		t.Errorf("answer without a pod %q, want an error", got)
	}
	s.update(nil)
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the address of a removed Service still accepts connections")
	}
	if _, err := s.address("addon", "web"); err == nil {
		t.Error("a removed Service still has an address")
	}
}

func TestAddressesDoNotMeet(t *testing.T) {
	one, err := reserveAddresses()
	if err != nil {
		t.Fatal(err)
	}
	defer one.close()
	two, err := reserveAddresses()
	if err != nil {
		t.Fatal(err)
	}
	defer two.close()
	if one.second == two.second {
		t.Errorf("two kubelets have 127.%d/16", one.second)
	}
	seen := map[string]bool{}
	for range 1000 {
		address, err := one.take()
		if err != nil || seen[address] || !isLoopback(address) {
			t.Fatalf("address %q, %v; want a new one of 127/8", address, err)
		}
		seen[address] = true
	}
}

func TestHostAndPort(t *testing.T) {
	for in, want := range map[string]string{
		"https://127.0.0.1:6443": "127.0.0.1 6443", "127.0.0.1:6443": "127.0.0.1 6443", "https://api.example": "api.example 443", "http://127.0.0.1": "127.0.0.1 80",
	} {
		host, port, err := hostAndPort(in)
		if got := host + " " + port; err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", in, got, err, want)
		}
	}
}
