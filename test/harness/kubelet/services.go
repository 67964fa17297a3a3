package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/o2ims/o2ims/pkg/fault"
)

// backend finds where a connection to a Service's port goes at this moment.
type backend func(service *corev1.Service, port corev1.ServicePort) (address string, err error)

// apiserverService is the Service by which pods of any cluster know its apiserver.
var apiserverService = types.NamespacedName{Namespace: "default", Name: "kubernetes"}

// services gives every Service an address of its own and passes connections on to a
// ready pod, as kube-proxy does. The address stays for the Service's life.
type services struct {
	addresses *addresses
	backend   backend
	log       *slog.Logger
	apiserver string // host:port

	mu      sync.Mutex
	ips     map[types.NamespacedName]string
	current map[types.NamespacedName]*corev1.Service
	doors   map[string]*door // by ip:port
}

// door is the listener of one port of a Service.
type door struct {
	listener net.Listener
	service  types.NamespacedName
	port     corev1.ServicePort
	err      error // why there is no listener

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newServices(addrs *addresses, find backend, apiserver string, log *slog.Logger) *services {
	return &services{
		addresses: addrs, backend: find, apiserver: apiserver, log: log,
		ips: map[types.NamespacedName]string{}, current: map[types.NamespacedName]*corev1.Service{}, doors: map[string]*door{},
	}
}

// update opens doors for what is in the list, and closes those of what is not.
func (s *services) update(list []*corev1.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = map[types.NamespacedName]*corev1.Service{apiserverService: {
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}}
	for _, service := range list {
		id := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		if service.Spec.Type != corev1.ServiceTypeExternalName && id != apiserverService {
			s.current[id] = service
		}
	}
	wanted := map[string]bool{}
	for id, service := range s.current {
		ip, err := s.ip(id)
		if err != nil {
			s.log.Error("service has no address", "service", id.String(), "error", err)
			continue
		}
		for _, port := range service.Spec.Ports {
			if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
				continue
			}
			key := net.JoinHostPort(ip, strconv.Itoa(int(port.Port)))
			wanted[key] = true
			s.open(key, id, port)
		}
	}
	for key, d := range s.doors {
		if !wanted[key] {
			d.close()
			delete(s.doors, key)
		}
	}
	for id, ip := range s.ips {
		if s.current[id] == nil {
			s.addresses.release(ip)
			delete(s.ips, id)
		}
	}
}

func (s *services) ip(id types.NamespacedName) (string, error) {
	if ip, ok := s.ips[id]; ok {
		return ip, nil
	}
	ip, err := s.addresses.take()
	if err == nil {
		s.ips[id] = ip
	}
	return ip, err
}

// open begins to listen, or, where it does, takes note that the target has changed.
func (s *services) open(key string, id types.NamespacedName, port corev1.ServicePort) {
	if d, ok := s.doors[key]; ok && d.err == nil {
		d.mu.Lock()
		d.port = port
		d.mu.Unlock()
		return
	}
	d := &door{service: id, port: port, conns: map[net.Conn]bool{}}
	if d.listener, d.err = net.Listen("tcp", key); d.err == nil {
		go s.serve(d)
	}
	s.doors[key] = d
}

func (s *services) serve(d *door) {
	for {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(context.Background(), 10*time.Millisecond) // out of descriptors, say
			continue
		}
		go s.pass(d, conn)
	}
}

// pass connects a caller with a pod until both have finished. A Service without a ready
// pod closes the connection.
func (s *services) pass(d *door, caller net.Conn) {
	defer func() { _ = caller.Close() }()
	address, err := s.target(d)
	if err != nil {
		s.log.Debug("service has no pod", "service", d.service.String(), "error", err)
		return
	}
	pod, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		s.log.Debug("pod not reached", "service", d.service.String(), "error", err)
		return
	}
	defer func() { _ = pod.Close() }()
	if !d.keep(caller, pod) {
		return
	}
	defer d.forget(caller, pod)

	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{caller, pod}, {pod, caller}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if half, ok := way[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}

func (s *services) target(d *door) (string, error) {
	if d.service == apiserverService {
		return s.apiserver, nil
	}
	s.mu.Lock()
	service := s.current[d.service]
	s.mu.Unlock()
	if service == nil {
		return "", fmt.Errorf("service %s: %w", d.service, fault.NotFound)
	}
	d.mu.Lock()
	port := d.port
	d.mu.Unlock()
	return s.backend(service, port)
}

func (d *door) keep(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		return false
	}
	for _, c := range conns {
		d.conns[c] = true
	}
	return true
}

func (d *door) forget(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		delete(d.conns, c)
	}
}

func (d *door) close() {
	if d.listener != nil {
		_ = d.listener.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

func (s *services) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.doors {
		d.close()
	}
	clear(s.doors)
}

// entries are the services for hosts files and environments, in order of name.
func (s *services) entries() []serviceEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []serviceEntry
	for id, service := range s.current {
		if ip, ok := s.ips[id]; ok {
			list = append(list, serviceEntry{id.Namespace, id.Name, ip, service.Spec.Ports})
		}
	}
	slices.SortFunc(list, func(a, b serviceEntry) int {
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	return list
}

func (s *services) address(namespace, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := types.NamespacedName{Namespace: namespace, Name: name}
	service, ip := s.current[id], s.ips[id]
	if service == nil || ip == "" || len(service.Spec.Ports) == 0 {
		return "", fmt.Errorf("service %s: %w", id, fault.NotFound)
	}
	key := net.JoinHostPort(ip, strconv.Itoa(int(service.Spec.Ports[0].Port)))
	if d := s.doors[key]; d == nil || d.err != nil {
		return "", fmt.Errorf("service %s: nobody listens at %s: %w", id, key, fault.Unavailable)
	}
	return key, nil
}

// problems says which ports could not be opened; an ordinary user may not open those
// below 1024. The apiserver's own Service is left out: pods have its real address too.
func (s *services) problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, key := range slices.Sorted(maps.Keys(s.doors)) {
		if d := s.doors[key]; d.err != nil && d.service != apiserverService {
			list = append(list, fmt.Sprintf("Service %s: %v", d.service, d.err))
		}
	}
	return list
}

// backend picks a ready pod behind a Service, any of them with the same chance.
func (k *Kubelet) backend(service *corev1.Service, port corev1.ServicePort) (string, error) {
	if len(service.Spec.Selector) == 0 {
		return "", fmt.Errorf("service %s/%s has no selector: %w", service.Namespace, service.Name, fault.Invalid)
	}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	var found []string
	for _, p := range k.allPods() {
		if address, ok := p.endpoint(service, selector, port); ok {
			found = append(found, address)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("service %s/%s has no ready pod: %w", service.Namespace, service.Name, fault.Unavailable)
	}
	return found[rand.IntN(len(found))], nil
}

// endpoint is the pod's address for a Service's port, if it takes part in the Service.
func (p *pod) endpoint(service *corev1.Service, selector labels.Selector, port corev1.ServicePort) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := !p.readySince.IsZero() || service.Spec.PublishNotReadyAddresses
	if p.stopping || !p.placed || !ready || p.id.Namespace != service.Namespace || !selector.Matches(labels.Set(p.object.Labels)) {
		return "", false
	}
	target := port.TargetPort
	if target.IntVal == 0 && target.StrVal == "" {
		target.IntVal = port.Port
	}
	var specs []*corev1.Container
	for _, c := range p.containers {
		specs = append(specs, c.spec)
	}
	number, err := containerPort(target, specs...)
	if err != nil {
		return "", false
	}
	return net.JoinHostPort(p.object.Status.PodIP, strconv.Itoa(int(number))), true
}

// serviceVariables are those of a pod's environment: how to reach the apiserver, and
// the namespace's services unless the pod declines them.
func (k *Kubelet) serviceVariables(pod *corev1.Pod) variables {
	v := variables{}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		v = serviceVariables(k.services.entries(), pod.Namespace)
	}
	// After the others: in namespace default one of them would lead to the proxy.
	v["KUBERNETES_SERVICE_HOST"], v["KUBERNETES_SERVICE_PORT"] = k.opts.APIServerHost, k.opts.APIServerPort
	v["KUBERNETES_SERVICE_PORT_HTTPS"] = k.opts.APIServerPort
	return v
}
