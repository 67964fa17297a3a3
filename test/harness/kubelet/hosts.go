package kubelet

import (
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// serviceEntry is a Service under the address at which we serve it.
type serviceEntry struct {
	namespace, name, ip string
	ports               []corev1.ServicePort
}

// hostsFile is a pod's /etc/hosts. It stands for the cluster's DNS as well: services are
// listed under every name that DNS would find from the pod's namespace. A pod on the
// node's network finds them only with dnsPolicy ClusterFirstWithHostNet, as on a node.
func hostsFile(pod *corev1.Pod, hostname string, services []serviceEntry) string {
	var b strings.Builder
	b.WriteString("# Written by the test environment's kubelet.\n127.0.0.1\tlocalhost\n")
	fmt.Fprintf(&b, "%s\t%s\n", pod.Status.PodIP, hostname)
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&b, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
	}
	if pod.Spec.HostNetwork && pod.Spec.DNSPolicy != corev1.DNSClusterFirstWithHostNet ||
		pod.Spec.DNSPolicy == corev1.DNSDefault || pod.Spec.DNSPolicy == corev1.DNSNone {
		return b.String()
	}
	for _, s := range services {
		qualified := s.name + "." + s.namespace
		names := []string{qualified, qualified + ".svc", qualified + ".svc.cluster.local"}
		if s.namespace == pod.Namespace {
			names = append([]string{s.name}, names...)
		}
		fmt.Fprintf(&b, "%s\t%s\n", s.ip, strings.Join(names, "\t"))
	}
	return b.String()
}

// resolvConf is a pod's /etc/resolv.conf. Nobody answers at its name server: names that
// the hosts file lacks are unknown, at once, on every machine.
func resolvConf(namespace string) string {
	return fmt.Sprintf("search %s.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n", namespace)
}

// writeInPlace changes a file's content and keeps the file, which is mounted into
// containers and would be lost to them if it were replaced.
func writeInPlace(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Chmod(0o644); err != nil { // whatever the umask
		return err
	}
	// One write and then the new length: a reader never sees an empty file.
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}
