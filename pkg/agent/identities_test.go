package agent

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
)

const (
	uuidA = "4c4c4544-0042-3510-8054-b2c04f503432"
	uuidB = "4c4c4544-0031-4c10-8033-c7c04f4a5a32"
	macA  = "b8:ce:f6:00:00:0a"
	macB  = "b8:ce:f6:00:00:0b"
)

func machine(name, ready, systemUUID string, macs ...string) hardware.Machine {
	m := hardware.Machine{Name: name, Server: hardware.Server{SystemUUID: systemUUID, Node: &hardware.NodeState{Ready: ready}}}
	for i, mac := range macs {
		m.Elements = append(m.Elements, hardware.Element{
			Class: hardware.Port, Slot: fmt.Sprintf("0000:01:00.%d", i), Port: &hardware.PortState{MAC: mac},
		})
	}
	return m
}

func TestAssign(t *testing.T) {
	for _, tc := range []struct {
		name string
		// Each step is the machines of one report; want the keys after the last.
		steps [][]hardware.Machine
		want  map[string]string
	}{
		{
			name:  "the hardware names the machine",
			steps: [][]hardware.Machine{{machine("n1", "True", uuidA, macA)}},
			want:  map[string]string{"n1": "uuid:" + uuidA},
		},
		{
			name: "a key stays when more becomes known",
			steps: [][]hardware.Machine{
				{machine("n1", "True", "", macA)},
				{machine("n1", "True", uuidA, macA)},
			},
			want: map[string]string{"n1": "mac:" + macA},
		},
		{
			name: "a clone does not take the key of the machine that works",
			steps: [][]hardware.Machine{
				{machine("n2", "True", uuidA, macA)},
				{machine("n1", "True", uuidA, macB), machine("n2", "True", uuidA, macA)},
			},
			want: map[string]string{"n1": "mac:" + macB, "n2": "uuid:" + uuidA},
		},
		{
			name: "nor does it while that machine reboots",
			steps: [][]hardware.Machine{
				{machine("n2", "True", uuidA, macA)},
				{machine("n1", "True", uuidA, macB), machine("n2", "False", uuidA, macA)},
				{machine("n1", "True", uuidA, macB), machine("n2", "True", uuidA, macA)},
			},
			want: map[string]string{"n1": "mac:" + macB, "n2": "uuid:" + uuidA},
		},
		{
			name: "a machine that joins under a new name takes its key along",
			steps: [][]hardware.Machine{
				{machine("old", "True", "", macA)},
				{machine("new", "True", uuidA, macA), machine("old", "Unknown", "", macA)},
			},
			want: map[string]string{"new": "mac:" + macA, "old": "node:c1/old"},
		},
		{
			name: "also when the old node was deleted first",
			steps: [][]hardware.Machine{
				{machine("old", "True", "", macA)},
				{},
				{machine("new", "True", uuidA, macA)},
			},
			want: map[string]string{"new": "mac:" + macA},
		},
		{
			name: "another machine under an old name is another machine",
			steps: [][]hardware.Machine{
				{machine("n1", "True", uuidA, macA)},
				{machine("n1", "True", uuidB, macB)},
			},
			want: map[string]string{"n1": "uuid:" + uuidB},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			known := identities{}
			got := map[string]string{}
			for _, machines := range tc.steps {
				known = known.assign("c1", machines)
				clear(got)
				for _, m := range machines {
					got[m.Name] = m.Key
				}
			}
			if !maps.Equal(got, tc.want) {
				t.Errorf("keys = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAssignNeverGivesOneKeyTwice(t *testing.T) {
	machines := []hardware.Machine{
		machine("n1", "True", uuidA, macA), machine("n2", "True", uuidA, macA), machine("n3", "False", uuidA, macA), machine("n4", "True", ""),
	}
	known := identities{}.assign("c1", []hardware.Machine{machine("old", "True", uuidA, macA)})
	known.assign("c1", machines)
	var keys []string
	for _, m := range machines {
		keys = append(keys, m.Key)
	}
	slices.Sort(keys)
	if len(slices.Compact(slices.Clone(keys))) != len(machines) {
		t.Errorf("keys = %q, want all different", keys)
	}
}

func TestIdentitiesAreForgottenOnlyInBulk(t *testing.T) {
	known := identities{}
	for i := range maxRemembered {
		known[fmt.Sprintf("gone-%d", i)] = hardware.Identity{Key: fmt.Sprintf("mac:%d", i)}
	}
	if next := known.assign("c1", nil); len(next) != maxRemembered {
		t.Errorf("%d identities left of %d", len(next), maxRemembered)
	}
	if next := known.assign("c1", []hardware.Machine{machine("n1", "True", uuidA)}); len(next) != 1 {
		t.Errorf("%d identities left, want only that of the node that is there", len(next))
	}
}
