package inventory

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// claim is a cluster's word that a machine is one of its nodes. Usually there is one for
// each machine; when there are more, settle decides.
type claim struct {
	cluster *cluster
	node    *Machine
	key     string // identity of the machine
	rank    int    // see rankOf

	id          uuid.UUID
	duplicateOf uuid.UUID // zero for the claim that holds

	pool   *poolRule   // that the machine is in; nil: the cluster's own
	rivals []*poolRule // that would have as good a claim to it, if they were older

	server *Server // what is shown
}

// claimsOf returns what a cluster claims. A cluster that the hub does not know, or has not
// accepted, claims nothing.
func (m *Model) claimsOf(c *cluster) []*claim {
	if c.facts == nil || !c.facts.Accepted {
		return nil
	}
	claims := make([]*claim, len(c.nodes))
	for i := range c.nodes {
		n := &c.nodes[i]
		key := n.Key
		if key == "" { // an agent that says nothing else names the node at least
			key = "node:" + m.clusterID(c) + "/" + n.Name
		}
		claims[i] = &claim{cluster: c, node: n, key: key, rank: rankOf(c, n)}
	}
	return claims
}

// rankOf is the first thing that decides between claims, less being better: a node that is
// ready now, one that was ready when last heard of, any other. A machine that was moved
// while its old cluster is out of reach therefore belongs to the new one.
func rankOf(c *cluster, m *Machine) int {
	switch {
	case m.Server.Node == nil || m.Server.Node.Ready != "True":
		return 2
	case !live(*c.facts, c.reporting):
		return 1
	default:
		return 0
	}
}

// compareClaims puts the best first: by rank, then the older cluster, then names.
func compareClaims(a, b *claim) int {
	if a.rank != b.rank {
		return a.rank - b.rank
	}
	if a.cluster != b.cluster {
		return older(a.cluster, b.cluster)
	}
	return strings.Compare(a.node.Name, b.node.Name)
}

// retract takes back a claim.
func (m *Model) retract(c *claim) {
	m.claims[c.key] = slices.DeleteFunc(m.claims[c.key], func(o *claim) bool { return o == c })
}

// settle decides who keeps the resourceId of the machine with this key, and returns the
// claims whose identifiers changed. It depends on the claims that there are, not on the
// order in which they came. The best claim stands first afterwards.
func (m *Model) settle(key string) []*claim {
	claims := m.claims[key]
	switch len(claims) {
	case 0:
		delete(m.claims, key)
		delete(m.contested, key)
		return nil
	case 1:
		delete(m.contested, key)
	default:
		m.contested[key] = struct{}{}
		slices.SortFunc(claims, compareClaims)
	}
	plain := hardware.ServerID(key)
	var changed []*claim
	for i, c := range claims {
		id, duplicateOf := plain, uuid.Nil
		if i > 0 {
			id, duplicateOf = hardware.DuplicateID(plain, m.duplicateName(c)), plain
		}
		if c.id != id || c.duplicateOf != duplicateOf {
			c.id, c.duplicateOf = id, duplicateOf
			changed = append(changed, c)
		}
	}
	return changed
}

// duplicateName tells a duplicate from the others of the same machine: by its cluster,
// and, where one cluster claims the machine for several nodes, all but the first of them
// by node, too.
func (m *Model) duplicateName(c *claim) string {
	name := m.clusterID(c.cluster)
	another := slices.ContainsFunc(m.claims[c.key], func(o *claim) bool {
		return o.cluster == c.cluster && o.node.Name < c.node.Name
	})
	if another {
		name += "/" + c.node.Name
	}
	return name
}
