package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// The contract between the probe and the agent: one ConfigMap per node in the agent's
// namespace, with SourceLabel: SourceValue, the node's name in NodeAnnotation, and a JSON
// array of hardware.Observation under DataKey.
const (
	SourceLabel    = "o2ims.open-cluster-management.io/source"
	SourceValue    = "probe"
	NodeAnnotation = "o2ims.open-cluster-management.io/node"
	DataKey        = "observations.json"
)

// ConfigMapName is the name of the ConfigMap of a node. Node names may be as long as
// object names: what does not fit is cut, and a digest keeps the names apart.
func ConfigMapName(node string) string {
	const prefix, longest = "o2ims-probe-", 253
	name := prefix + node
	if len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(node))
	suffix := "-" + hex.EncodeToString(sum[:8])
	return strings.TrimRight(name[:longest-len(suffix)], ".-") + suffix
}

// publisher writes the observations of one node.
type publisher struct {
	client    kubernetes.Interface
	namespace string
	node      string
}

// put makes the ConfigMap say what was observed and tells whether that took a write. An
// error wraps fault.Upstream.
func (p *publisher) put(ctx context.Context, observations []hardware.Observation) (written bool, err error) {
	data, err := json.Marshal(observations)
	if err != nil {
		return false, fmt.Errorf("node probe of %s: %w", p.node, err)
	}
	err = retry.OnError(retry.DefaultBackoff, lostRace, func() error {
		written, err = p.apply(ctx, string(data))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("node probe of %s: config map %s/%s: %w: %w", p.node, p.namespace, ConfigMapName(p.node), err, fault.Upstream)
	}
	return written, nil
}

// lostRace tells whether the object was changed, made or deleted while we looked.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

func (p *publisher) apply(ctx context.Context, data string) (written bool, err error) {
	maps := p.client.CoreV1().ConfigMaps(p.namespace)
	cm, err := maps.Get(ctx, ConfigMapName(p.node), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ConfigMapName(p.node), Namespace: p.namespace}}
		p.fill(cm, data)
		_, err = maps.Create(ctx, cm, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) { // the namespace; trying again at once cannot help
			return false, errors.New(err.Error())
		}
		return err == nil, err
	}
	if err != nil || !p.fill(cm, data) {
		return false, err
	}
	_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
	return err == nil, err
}

// fill sets what is ours in the ConfigMap and tells whether anything changed.
func (p *publisher) fill(cm *corev1.ConfigMap, data string) (changed bool) {
	set := func(m *map[string]string, key, value string) {
		if *m == nil {
			*m = map[string]string{}
		}
		if (*m)[key] != value {
			(*m)[key] = value
			changed = true
		}
	}
	set(&cm.Labels, SourceLabel, SourceValue)
	set(&cm.Annotations, NodeAnnotation, p.node)
	set(&cm.Data, DataKey, data)
	return changed
}
