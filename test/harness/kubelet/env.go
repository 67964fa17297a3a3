package kubelet

import (
	"fmt"
	"maps"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/o2ims/o2ims/pkg/fault"
)

// variables are environment variables by name.
type variables map[string]string

// strings gives them as NAME=value, in order of name.
func (v variables) strings() []string {
	list := make([]string, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		list = append(list, name+"="+v[name])
	}
	return list
}

// expand replaces $(NAME) by its value. $$ is a $ that begins no reference, and a
// reference to what does not exist stays as it is.
func expand(text string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		switch text[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(text[i+2:], ')')
			if end < 0 {
				out.WriteString("$(")
				i++
				continue
			}
			name := text[i+2 : i+2+end]
			value, ok := lookup(name)
			if !ok {
				value = "$(" + name + ")"
			}
			out.WriteString(value)
			i += 2 + end
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// environment resolves a container's env and envFrom, in the order the manifest gives
// them. Variables of the cluster's services may be referred to and overridden.
func environment(pod *corev1.Pod, c *corev1.Container, node *corev1.Node, services variables, from objects) (variables, error) {
	own := variables{}
	for _, source := range c.EnvFrom {
		values, err := envFrom(pod.Namespace, source, from)
		if err != nil {
			return nil, err
		}
		maps.Copy(own, values)
	}
	lookup := func(name string) (string, bool) {
		if value, ok := own[name]; ok {
			return value, true
		}
		value, ok := services[name]
		return value, ok
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			own[e.Name] = expand(e.Value, lookup)
			continue
		}
		value, ok, err := envValue(pod, c, node, e.ValueFrom, from)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", e.Name, err)
		}
		if ok {
			own[e.Name] = value
		}
	}
	all := maps.Clone(services)
	if all == nil {
		all = variables{}
	}
	maps.Copy(all, own)
	return all, nil
}

func envFrom(namespace string, source corev1.EnvFromSource, from objects) (variables, error) {
	values := variables{}
	switch {
	case source.ConfigMapRef != nil:
		cm, err := from.ConfigMap(namespace, source.ConfigMapRef.Name)
		if isOptional(err, source.ConfigMapRef.Optional) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for name, value := range cm.Data {
			values[source.Prefix+name] = value
		}
	case source.SecretRef != nil:
		secret, err := from.Secret(namespace, source.SecretRef.Name)
		if isOptional(err, source.SecretRef.Optional) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for name, value := range secret.Data {
			values[source.Prefix+name] = string(value)
		}
	}
	return values, nil
}

// isOptional says that something is missing and may be.
func isOptional(err error, optional *bool) bool {
	return apierrors.IsNotFound(err) && optional != nil && *optional
}

// envValue is the value of one valueFrom. It is not there (false) when an optional
// source lacks it.
func envValue(pod *corev1.Pod, c *corev1.Container, node *corev1.Node, source *corev1.EnvVarSource, from objects) (string, bool, error) {
	switch {
	case source.FieldRef != nil:
		value, err := fieldValue(pod, source.FieldRef.FieldPath)
		return value, true, err
	case source.ResourceFieldRef != nil:
		value, err := resourceValue(pod, c, node, source.ResourceFieldRef)
		return value, true, err
	case source.ConfigMapKeyRef != nil:
		ref := source.ConfigMapKeyRef
		cm, err := from.ConfigMap(pod.Namespace, ref.Name)
		if isOptional(err, ref.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		value, ok := cm.Data[ref.Key]
		return keyed(value, ok, ref.Optional, "ConfigMap", pod.Namespace, ref.Name, ref.Key)
	case source.SecretKeyRef != nil:
		ref := source.SecretKeyRef
		secret, err := from.Secret(pod.Namespace, ref.Name)
		if isOptional(err, ref.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		value, ok := secret.Data[ref.Key]
		return keyed(string(value), ok, ref.Optional, "Secret", pod.Namespace, ref.Name, ref.Key)
	}
	return "", false, fmt.Errorf("valueFrom of a kind that is not played: %w", fault.Invalid)
}

func keyed(value string, ok bool, optional *bool, kind, namespace, name, key string) (string, bool, error) {
	if ok || optional != nil && *optional {
		return value, ok, nil
	}
	return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s: %w", key, kind, namespace, name, fault.NotFound)
}

var subscript = regexp.MustCompile(`^metadata\.(labels|annotations)\['(.+)'\]$`)

// fieldValue is what the downward API says of a pod. Whole maps, which only volumes may
// ask for, are lines of key="value".
func fieldValue(pod *corev1.Pod, path string) (string, error) {
	if m := subscript.FindStringSubmatch(path); m != nil {
		if m[1] == "labels" {
			return pod.Labels[m[2]], nil
		}
		return pod.Annotations[m[2]], nil
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return lines(pod.Labels), nil
	case "metadata.annotations":
		return lines(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	}
	return "", fmt.Errorf("fieldPath %s is not supported: %w", path, fault.Invalid)
}

func lines(values map[string]string) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, key+"="+strconv.Quote(values[key]))
	}
	return strings.Join(list, "\n")
}

// resourceValue is a container's request or limit in units of the divisor, rounded up.
// A limit that is not set is what the node has, as on a node.
func resourceValue(pod *corev1.Pod, c *corev1.Container, node *corev1.Node, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && (c == nil || ref.ContainerName != c.Name) {
		c = containerNamed(pod, ref.ContainerName)
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef: container %q: %w", ref.ContainerName, fault.NotFound)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	var list corev1.ResourceList
	switch kind {
	case "limits":
		list = c.Resources.Limits
	case "requests":
		list = c.Resources.Requests
	default:
		return "", fmt.Errorf("resourceFieldRef %s is not supported: %w", ref.Resource, fault.Invalid)
	}
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" && node != nil {
		quantity = node.Status.Allocatable[corev1.ResourceName(name)]
	}
	return divide(quantity, ref.Divisor, name == string(corev1.ResourceCPU)), nil
}

func divide(quantity, divisor resource.Quantity, cpu bool) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if cpu {
		return strconv.FormatInt(int64(math.Ceil(float64(quantity.MilliValue())/float64(divisor.MilliValue()))), 10)
	}
	return strconv.FormatInt(int64(math.Ceil(float64(quantity.Value())/float64(divisor.Value()))), 10)
}

func containerNamed(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// serviceVariables tell of a namespace's services as the kubelet does: {NAME}_SERVICE_HOST
// and the Docker-style {NAME}_PORT that surprises programs which read such a variable.
func serviceVariables(known []serviceEntry, namespace string) variables {
	v := variables{}
	for _, s := range known {
		if s.namespace != namespace || len(s.ports) == 0 {
			continue
		}
		name := strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
		v[name+"_SERVICE_HOST"] = s.ip
		v[name+"_SERVICE_PORT"] = strconv.Itoa(int(s.ports[0].Port))
		v[name+"_PORT"] = "tcp://" + net.JoinHostPort(s.ip, strconv.Itoa(int(s.ports[0].Port)))
		for _, p := range s.ports {
			port := strconv.Itoa(int(p.Port))
			if p.Name != "" {
				v[name+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))] = port
			}
			prefix := name + "_PORT_" + port + "_TCP"
			v[prefix] = "tcp://" + net.JoinHostPort(s.ip, port)
			v[prefix+"_PROTO"], v[prefix+"_PORT"], v[prefix+"_ADDR"] = "tcp", port, s.ip
		}
	}
	return v
}
