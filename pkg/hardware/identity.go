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
	if mac, ok := lowestMAC(c.MACs); ok {
		candidates = append(candidates, "mac:"+mac)
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

// lowestMAC skips addresses that were assigned locally or to a group: they do not come
// from a manufacturer.
func lowestMAC(macs []string) (string, bool) {
	lowest := ""
	for _, m := range macs {
		m = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(m), "-", ":"))
		if !macPattern.MatchString(m) || m == "00:00:00:00:00:00" || strings.ContainsRune("12367abef", rune(m[1])) {
			continue
		}
		if lowest == "" || m < lowest {
			lowest = m
		}
	}
	return lowest, lowest != ""
}
