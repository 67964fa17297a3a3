package hardware

import (
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Namespaces of our UUIDv5 identifiers. They are part of the product's contract: an
// SMO keeps these identifiers, so they never change.
var (
	resourceNamespace     = uuid.MustParse("5b4c3f0e-8f5e-4b57-9d5c-3f4d5a0e6c11")
	resourceTypeNamespace = uuid.MustParse("c1d2a5f4-6a38-4e0c-8f1b-7c9e2b7d4a22")
)

// ServerID is the resourceId of the server with this identity key.
func ServerID(key string) uuid.UUID { return uuid.NewSHA1(resourceNamespace, []byte(key)) }

// ElementID is the resourceId of an element of a server. A swapped processor keeps its
// place's identifier, so that alarms stay with the place; a swapped disk is a new one.
func ElementID(server uuid.UUID, class Class, slot string) uuid.UUID {
	return uuid.NewSHA1(server, []byte(string(class)+"|"+slot))
}

// DuplicateID is the resourceId under which a machine is shown that another cluster
// reports as well and has the better claim to.
func DuplicateID(server uuid.UUID, clusterID string) uuid.UUID {
	return uuid.NewSHA1(server, []byte("duplicate|"+clusterID))
}

// ResourceTypeID is the resourceTypeId of one make of thing, within one O-Cloud.
// Differences of white space between sources do not make another type.
func ResourceTypeID(oCloudID, kind, class, vendor, model string) uuid.UUID {
	parts := []string{oCloudID, kind, class, vendor, model}
	for i, p := range parts {
		parts[i] = strings.Join(strings.Fields(p), " ")
	}
	return uuid.NewSHA1(resourceTypeNamespace, []byte(strings.Join(parts, "|")))
}

// Clues are what a machine's identity can be derived from.
type Clues struct {
	SystemUUID string
	Vendor     string
	Serial     string
	MACs       []string // permanent addresses of physical ports
	ClusterID  string
	NodeName   string
}

// ChooseKey derives the identity key of a machine: the SMBIOS system UUID, else vendor
// and serial number, else the lowest permanent MAC address, else cluster and node name.
//
// Values that manufacturers leave in place of real ones are passed over. A UUID or
// serial number that a second machine of the same cluster also bears (cloned images,
// careless factories) identifies nothing either: taken says so.
func ChooseKey(c Clues, taken func(key string) bool) string {
	candidates := make([]string, 0, 3)
	if u, ok := validSystemUUID(c.SystemUUID); ok {
		candidates = append(candidates, "uuid:"+u)
	}
	if validSerial(c.Serial) {
		candidates = append(candidates, "sn:"+strings.ToLower(strings.TrimSpace(c.Vendor))+"|"+strings.TrimSpace(c.Serial))
	}
	if macs := hardwareMACs(c.MACs); len(macs) > 0 {
		candidates = append(candidates, "mac:"+macs[0])
	}
	for _, key := range candidates {
		if !taken(key) {
			return key
		}
	}
	return "node:" + c.ClusterID + "/" + c.NodeName
}

// uuidFillers are UUIDs that firmware carries when nobody set one.
var uuidFillers = []string{
	"00000000-0000-0000-0000-000000000000",
	"ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009",
	"00020003-0004-0005-0006-000700080009", // the same, the first groups in the other byte order
	"12345678-1234-5678-90ab-cddeefaabbcc",
}

func validSystemUUID(s string) (string, bool) {
	u, err := uuid.Parse(strings.TrimSpace(s))
	if err != nil || slices.Contains(uuidFillers, u.String()) {
		return "", false
	}
	return u.String(), true
}

// serialFillers are texts that stand where a serial number should be.
var serialFillers = []string{
	"none", "n/a", "unknown", "default string", "to be filled by o.e.m.", "to be filled by oem",
	"system serial number", "not specified", "not applicable", "not available", "chassis serial number",
	"empty", "oem", "o.e.m.", "123456789", "0123456789",
}

var onlyZeros = regexp.MustCompile(`^[0\s.\-]*$`)

func validSerial(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	return len(s) >= 4 && !onlyZeros.MatchString(s) && !slices.Contains(serialFillers, s)
}

var macPattern = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)

// hardwareMACs returns the addresses that come from a manufacturer, in lower case and
// ascending order: not those that were assigned locally or to a group.
func hardwareMACs(macs []string) []string {
	var list []string
	for _, m := range macs {
		m = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(m), "-", ":"))
		if macPattern.MatchString(m) && m != "00:00:00:00:00:00" && strings.ContainsRune("048c", rune(m[1])) {
			list = append(list, m)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Identity is what the agent remembers of a machine: the key it was given when it was
// first seen, and the clues it showed last.
type Identity struct {
	Key        string   `json:"key"`
	MACs       []string `json:"macs,omitempty"`
	Serial     string   `json:"serial,omitempty"`
	SystemUUID string   `json:"systemUUID,omitempty"`
}

// Next is the identity of the machine that now shows these clues under the node name
// of i. The key stays, whatever becomes known later, unless the clues contradict the
// old ones: then another machine bears the name, and it gets a key of its own.
func (i Identity) Next(c Clues, taken func(key string) bool) Identity {
	next := Identity{Key: i.Key, MACs: hardwareMACs(c.MACs), Serial: strings.TrimSpace(c.Serial)}
	next.SystemUUID, _ = validSystemUUID(c.SystemUUID)
	if !validSerial(next.Serial) {
		next.Serial = ""
	}
	if i.Key == "" || i.contradicts(next) {
		next.Key = ChooseKey(c, taken)
		return next
	}
	// A source that is silent today does not take back what it said.
	if next.SystemUUID == "" {
		next.SystemUUID = i.SystemUUID
	}
	if next.Serial == "" {
		next.Serial = i.Serial
	}
	if len(next.MACs) == 0 {
		next.MACs = i.MACs
	}
	return next
}

// contradicts tells whether two sets of clues cannot come from the same machine. The
// first kind of clue that both have decides: a board keeps its UUID when every adapter
// is replaced.
func (i Identity) contradicts(now Identity) bool {
	switch {
	case i.SystemUUID != "" && now.SystemUUID != "":
		return i.SystemUUID != now.SystemUUID
	case i.Serial != "" && now.Serial != "":
		return i.Serial != now.Serial
	case len(i.MACs) > 0 && len(now.MACs) > 0:
		return !slices.ContainsFunc(i.MACs, func(m string) bool { return slices.Contains(now.MACs, m) })
	default:
		return false
	}
}

// SameMachine tells whether two sets of clues come from one machine, as far as one can
// tell: they share at least one clue and differ in none. Cloned system UUIDs exist, so
// a shared UUID does not outweigh different adapters.
func (i Identity) SameMachine(other Identity) bool {
	shared := false
	for _, pair := range [][2][]string{{{i.SystemUUID}, {other.SystemUUID}}, {{i.Serial}, {other.Serial}}, {i.MACs, other.MACs}} {
		a, b := known(pair[0]), known(pair[1])
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		if !slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) }) {
			return false
		}
		shared = true
	}
	return shared
}

func known(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
}

// CluesOf collects what identifies a machine from what was merged of it. The system
// UUID of a machine without SMBIOS repeats its machine-id and names the installation,
// not the machine: it is no clue.
func CluesOf(clusterID string, m Machine) Clues {
	c := Clues{
		ClusterID: clusterID, NodeName: m.Name,
		SystemUUID: m.Server.SystemUUID, Vendor: m.Server.Vendor, Serial: m.Server.Serial,
	}
	if strings.ReplaceAll(c.SystemUUID, "-", "") == strings.ReplaceAll(m.Server.MachineID, "-", "") {
		c.SystemUUID = ""
	}
	for _, e := range m.Elements {
		if e.Class == Port && e.Port != nil && e.Port.MAC != "" {
			c.MACs = append(c.MACs, e.Port.MAC)
		}
	}
	return c
}

// Conclusive tells whether a machine can be named by its hardware, rather than by its
// place in a cluster.
func (c Clues) Conclusive() bool {
	_, hasUUID := validSystemUUID(c.SystemUUID)
	return hasUUID || validSerial(c.Serial) || len(hardwareMACs(c.MACs)) > 0
}
