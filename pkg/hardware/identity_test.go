package hardware

import (
	"testing"
)

func TestChooseKey(t *testing.T) {
	const uuidA = "4c4c4544-0042-3510-8054-b2c04f503432"
	nobody := func(string) bool { return false }
	for _, tc := range []struct {
		name  string
		clues Clues
		taken func(string) bool
		want  string
	}{
		{name: "system UUID first", clues: Clues{SystemUUID: "4C4C4544-0042-3510-8054-B2C04F503432", Vendor: "Dell Inc.", Serial: "BT5P242"}, want: "uuid:" + uuidA},
		{name: "filler UUID gives way to the serial", clues: Clues{SystemUUID: "03000200-0400-0500-0006-000700080009", Vendor: "Dell Inc.", Serial: "BT5P242"}, want: "sn:dell inc.|BT5P242"},
		{name: "the same filler in the other byte order", clues: Clues{SystemUUID: "00020003-0004-0005-0006-000700080009", Serial: "BT5P242"}, want: "sn:|BT5P242"},
		{name: "all ones", clues: Clues{SystemUUID: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", MACs: []string{"B8:CE:F6:00:00:02", "b8:ce:f6:00:00:01"}}, want: "mac:b8:ce:f6:00:00:01"},
		{name: "not a UUID", clues: Clues{SystemUUID: "board-7", Serial: "BT5P242"}, want: "sn:|BT5P242"},
		{name: "filler serial gives way to the MAC", clues: Clues{Serial: "To be filled by O.E.M.", MACs: []string{"b8:ce:f6:00:00:01"}}, want: "mac:b8:ce:f6:00:00:01"},
		{name: "zeros are no serial", clues: Clues{Serial: "0000-0000", MACs: []string{"b8:ce:f6:00:00:01"}}, want: "mac:b8:ce:f6:00:00:01"},
		{name: "a short serial is none", clues: Clues{Serial: "A1", ClusterID: "c1", NodeName: "n1"}, want: "node:c1/n1"},
		{name: "local and group addresses are nobody's", clues: Clues{MACs: []string{"02:fc:00:00:00:01", "01:00:5e:00:00:01", "00:00:00:00:00:00"}, ClusterID: "c1", NodeName: "n1"}, want: "node:c1/n1"},
		{name: "nothing known", clues: Clues{ClusterID: "c1", NodeName: "n1"}, want: "node:c1/n1"},
		{name: "a cloned UUID identifies nothing", clues: Clues{SystemUUID: uuidA, Vendor: "Dell Inc.", Serial: "BT5P242"},
			taken: func(k string) bool { return k == "uuid:"+uuidA }, want: "sn:dell inc.|BT5P242"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			taken := tc.taken
			if taken == nil {
				taken = nobody
			}
			if got := ChooseKey(tc.clues, taken); got != tc.want {
				t.Errorf("ChooseKey(%+v) = %q, want %q", tc.clues, got, tc.want)
			}
		})
	}
}

func TestIdentityIsSticky(t *testing.T) {
	const (
		uuidA = "4c4c4544-0042-3510-8054-b2c04f503432"
		uuidB = "4c4c4544-0031-4c10-8033-c7c04f4a5a32"
	)
	nobody := func(string) bool { return false }
	for _, tc := range []struct {
		name        string
		before, now Clues
		wantSame    bool
	}{
		{name: "a better source appears later",
			before: Clues{MACs: []string{"b8:ce:f6:00:00:01"}}, now: Clues{SystemUUID: uuidA, Serial: "BT5P242", MACs: []string{"b8:ce:f6:00:00:01"}}, wantSame: true},
		{name: "a source falls silent",
			before: Clues{SystemUUID: uuidA}, now: Clues{}, wantSame: true},
		{name: "every adapter is replaced, the board stays",
			before: Clues{SystemUUID: uuidA, MACs: []string{"b8:ce:f6:00:00:01"}}, now: Clues{SystemUUID: uuidA, MACs: []string{"b8:ce:f6:00:00:99"}}, wantSame: true},
		{name: "one of two adapters is replaced, nothing else is known",
			before: Clues{MACs: []string{"b8:ce:f6:00:00:01", "b8:ce:f6:00:00:02"}}, now: Clues{MACs: []string{"b8:ce:f6:00:00:02", "b8:ce:f6:00:00:99"}}, wantSame: true},
		{name: "another machine takes the node's name",
			before: Clues{SystemUUID: uuidA}, now: Clues{SystemUUID: uuidB}},
		{name: "another machine, told by its serial",
			before: Clues{Serial: "BT5P242"}, now: Clues{Serial: "CX7K991"}},
		{name: "another machine, told by its adapters",
			before: Clues{MACs: []string{"b8:ce:f6:00:00:01"}}, now: Clues{MACs: []string{"b8:ce:f6:00:00:99"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := Identity{}.Next(tc.before, nobody)
			second := first.Next(tc.now, nobody)
			if same := first.Key == second.Key; same != tc.wantSame {
				t.Errorf("key %q, then %q; want the same: %t", first.Key, second.Key, tc.wantSame)
			}
		})
	}
}

func TestIdentityRemembersWhatASilentSourceSaid(t *testing.T) {
	nobody := func(string) bool { return false }
	first := Identity{}.Next(Clues{SystemUUID: "4c4c4544-0042-3510-8054-b2c04f503432"}, nobody)
	silent := first.Next(Clues{}, nobody)
	other := silent.Next(Clues{SystemUUID: "4c4c4544-0031-4c10-8033-c7c04f4a5a32"}, nobody)
	if other.Key == first.Key {
		t.Errorf("another machine kept the key %q because its predecessor fell silent first", first.Key)
	}
}

func TestCluesOfIgnoresAMachineIDInUUIDClothing(t *testing.T) {
	m := Machine{Name: "n1", Server: Server{SystemUUID: "0f2dc1b4-6a4e-4b8e-9e9e-6a3ddc1c2b10", MachineID: "0f2dc1b46a4e4b8e9e9e6a3ddc1c2b10"}}
	if c := CluesOf("c1", m); c.Conclusive() {
		t.Errorf("CluesOf(%+v) = %+v, want nothing conclusive", m.Server, c)
	}
}

func TestIDsStayWhatTheyWere(t *testing.T) {
	// An SMO keeps these identifiers: a change of the derivation is a change of the API.
	server := ServerID("uuid:4c4c4544-0042-3510-8054-b2c04f503432")
	for _, tc := range []struct{ name, got, want string }{
		{"server", server.String(), "adfaa113-a548-536b-bce7-246d249ab9bd"},
		{"element", ElementID(server, Processor, "socket/0").String(), "4d86ce4d-29b7-55c6-8054-20aeb21bb25d"},
		{"resource type", ResourceTypeID("o1", "PHYSICAL", "COMPUTE", "Dell  Inc.", " XR8620t ").String(), "f84dc12c-204d-5374-9e33-7d159554dc7d"},
		{"duplicate", DuplicateID(server, "c2").String(), "78af41f8-0b32-52b3-9a24-975f97a04674"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, tc.got, tc.want)
		}
	}
}
