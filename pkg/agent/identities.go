package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

const (
	identityConfigMap = "o2ims-identity"
	identityKey       = "identities.json"

	// maxRemembered bounds the ConfigMap: beyond it, nodes that are gone are forgotten.
	maxRemembered = 2000
)

// identities remembers which identity each node was given: name of the Node → identity.
type identities map[string]hardware.Identity

// identityStore keeps identities in a ConfigMap beside the agent. There is one agent at
// a time, so the last writer is the only one; an outdated write is refused all the same.
type identityStore struct {
	client    client.Client
	reader    client.Reader // uncached
	namespace string
}

// load returns what was remembered. When the ConfigMap is gone, the last report on the
// hub still tells which key every node had.
func (s identityStore) load(ctx context.Context, lastReport report.Inventory) (identities, error) {
	var cm corev1.ConfigMap
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: identityConfigMap}, &cm)
	switch {
	case apierrors.IsNotFound(err):
		return identitiesOf(lastReport), nil
	case err != nil:
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", s.namespace, identityConfigMap, err)
	}
	remembered := identities{}
	if err := json.Unmarshal([]byte(cm.Data[identityKey]), &remembered); err != nil {
		slog.WarnContext(ctx, "identities are unreadable and taken from the last report instead", "configMap", identityConfigMap, "error", err)
		return identitiesOf(lastReport), nil
	}
	return remembered, nil
}

func identitiesOf(last report.Inventory) identities {
	remembered := identities{}
	for _, m := range last.Nodes {
		id := hardware.Identity{}.Next(hardware.CluesOf(last.Cluster, m), func(string) bool { return false })
		id.Key = m.Key
		remembered[m.Name] = id
	}
	return remembered
}

func (s identityStore) save(ctx context.Context, ids identities) error {
	data, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: identityConfigMap}}
	err = s.reader.Get(ctx, client.ObjectKeyFromObject(cm), cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ConfigMap %s/%s: %w", s.namespace, identityConfigMap, err)
	}
	cm.Data = map[string]string{identityKey: string(data)}
	if apierrors.IsNotFound(err) {
		err = s.client.Create(ctx, cm)
	} else {
		err = s.client.Update(ctx, cm)
	}
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", s.namespace, identityConfigMap, err)
	}
	return nil
}

// assign gives every machine its key and returns the identities to remember. It does
// not change ids.
//
// Machines that are at work come first, those known before ahead of newcomers: so a
// clone of a machine cannot take its key, and a machine that joins under a new name
// takes its key along from the stale Node it left behind.
func (ids identities) assign(cluster string, machines []hardware.Machine) identities {
	next := maps.Clone(ids)
	if next == nil {
		next = identities{}
	}
	owner := ids.owners(machines)
	for _, m := range byClaim(ids, machines) {
		clues := hardware.CluesOf(cluster, *m)
		previous, isKnown := ids[m.Name]
		if !isKnown {
			var left string
			left, previous = ids.moved(clues, machines)
			if owner[previous.Key] == left {
				delete(owner, previous.Key)
			}
		}
		taken := func(key string) bool { return owner[key] != "" && owner[key] != m.Name }
		id := previous.Next(clues, taken)
		if taken(id.Key) {
			id = hardware.Identity{}.Next(clues, taken)
		}
		m.Key = id.Key
		owner[id.Key], next[m.Name] = m.Name, id
	}
	if len(next) > maxRemembered {
		present := func(name string) bool {
			return slices.ContainsFunc(machines, func(m hardware.Machine) bool { return m.Name == name })
		}
		maps.DeleteFunc(next, func(name string, _ hardware.Identity) bool { return !present(name) })
	}
	return next
}

// owners tells which of the nodes that are there has which key so far.
func (ids identities) owners(machines []hardware.Machine) map[string]string {
	owner := make(map[string]string, len(machines))
	for _, m := range machines {
		if id, isKnown := ids[m.Name]; isKnown {
			owner[id.Key] = m.Name
		}
	}
	return owner
}

// byClaim orders machines by how good their claim to an identity is, best first.
func byClaim(ids identities, machines []hardware.Machine) []*hardware.Machine {
	ordered := make([]*hardware.Machine, len(machines))
	for i := range machines {
		ordered[i] = &machines[i]
	}
	claim := func(m *hardware.Machine) int {
		_, isKnown := ids[m.Name]
		switch {
		case isReady(*m) && isKnown:
			return 0
		case isReady(*m):
			return 1
		default:
			return 2
		}
	}
	slices.SortFunc(ordered, func(a, b *hardware.Machine) int {
		return cmp.Or(cmp.Compare(claim(a), claim(b)), cmp.Compare(a.Name, b.Name))
	})
	return ordered
}

// moved finds the identity of a machine that had another name, one whose Node is gone
// or does not work any more, and that name.
func (ids identities) moved(c hardware.Clues, machines []hardware.Machine) (string, hardware.Identity) {
	newcomer := hardware.Identity{}.Next(c, func(string) bool { return false })
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		at := slices.IndexFunc(machines, func(m hardware.Machine) bool { return m.Name == name })
		if at >= 0 && isReady(machines[at]) {
			continue
		}
		if ids[name].SameMachine(newcomer) {
			return name, ids[name]
		}
	}
	return "", hardware.Identity{}
}

func isReady(m hardware.Machine) bool {
	return m.Server.Node != nil && m.Server.Node.Ready == string(corev1.ConditionTrue)
}

func (ids identities) equal(other identities) bool { return reflect.DeepEqual(ids, other) }
