package ocloud

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/kubelet"
)

// Managers are the pods of the manager, in order of name.
func (o *OCloud) Managers() []kubelet.PodInfo { return podsOf(o.hub, "Deployment/o2ims-manager") }

// Agents are the agent's pods: one, but for the moments of its replacement.
func (s *Spoke) Agents() []kubelet.PodInfo { return podsOf(s.Kubelet, "Deployment/o2ims-agent") }

// Probe is the pod of the node probe on a node; false while there is none.
func (s *Spoke) Probe(node string) (kubelet.PodInfo, bool) {
	probes := podsOf(s.Kubelet, "DaemonSet/o2ims-probe")
	i := slices.IndexFunc(probes, func(p kubelet.PodInfo) bool { return p.Node == node })
	if i < 0 {
		return kubelet.PodInfo{}, false
	}
	return probes[i], true
}

func podsOf(k *kubelet.Kubelet, owner string) []kubelet.PodInfo {
	return slices.DeleteFunc(k.Pods(), func(p kubelet.PodInfo) bool { return p.Owner != owner })
}

// LeaseHolder returns who holds a Lease, a text that begins with the name of its pod and
// differs after each restart. Without a holder the error wraps ErrNotYet.
func LeaseHolder(ctx context.Context, c client.Client, namespace, name string) (string, error) {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &lease); err != nil {
		return "", err
	}
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	if holder == "" {
		return "", fmt.Errorf("holder of Lease %s: %w", name, ErrNotYet)
	}
	return holder, nil
}

// Leader tells which of the managers leads, and by which name it holds the Lease.
func (o *OCloud) Leader(ctx context.Context) (leader kubelet.PodInfo, holder string, err error) {
	if holder, err = LeaseHolder(ctx, o.Env.Hub.Client(), Namespace, "o2ims-manager"); err != nil {
		return leader, "", err
	}
	for _, p := range o.Managers() {
		if strings.HasPrefix(holder, p.Name+"_") {
			return p, holder, nil
		}
	}
	return leader, holder, fmt.Errorf("pod of the leader %s: %w", holder, ErrNotYet)
}

// DoAt sends a request to one manager, past the Service. The URL, and with it what the
// certificate has to prove, is that of the Service.
func (o *OCloud) DoAt(ctx context.Context, pod kubelet.PodInfo, method, path, token string) (*http.Response, error) {
	transport := o.http.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(pod.IP, "8443"))
	}
	request, err := http.NewRequestWithContext(ctx, method, o.URL+path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	one := &http.Client{Timeout: requestTimeout, Transport: transport}
	return one.Do(request)
}

// BodyAt is what one manager answers to a GET of test-client.
func (o *OCloud) BodyAt(ctx context.Context, pod kubelet.PodInfo, path string) (string, error) {
	token, err := o.Token(ctx, "test-client")
	if err != nil {
		return "", err
	}
	response, err := o.DoAt(ctx, pod, http.MethodGet, path, token)
	if err != nil {
		return "", fmt.Errorf("%s: %w", pod.Name, err)
	}
	body, err := okBody(response)
	if err != nil {
		return "", fmt.Errorf("%s: GET %s: %w", pod.Name, path, err)
	}
	return string(body), nil
}
