package alarm

import (
	"strings"

	"github.com/google/uuid"
)

// causeNamespace is that of our probableCauseIds. An SMO keeps them, so it never changes.
var causeNamespace = uuid.MustParse("6f0b5f7c-3d1e-4f0a-9a57-2b8c6d4e1f93")

// ProbableCauseID is the probableCauseId of a code.
func ProbableCauseID(code string) uuid.UUID { return uuid.NewSHA1(causeNamespace, []byte(code)) }

// ProbableCause is one entry of the standard's list of probable causes.
type ProbableCause struct {
	ID          uuid.UUID
	Code        string // as the standard prints it, misprints included
	Spelling    string // the code without misprint; equal to Code where there is none
	Object      string // Cluster, Node or Network
	EventType   string // such as EQUIPMENT_ALARM
	Description string
}

// Where probable causes are defined.
const (
	StandardOrganization  = "O-RAN"
	StandardSpecification = "O-RAN.WG6.TS.O2IMS-INTERFACE"
	StandardVersion       = "R004-v10.00"
)

const (
	causeUnmappedCluster = "CLUSTER_COMMUNICATION"
	causeUnmappedNode    = "HOST_OS_ERROR"
)

// causeCodes are the standard's, in its order and spelling.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, clause 4.
var causeCodes = []struct{ object, codes string }{
	{"Cluster", "CLUSTER_COMMUNICATION"},
	{"Node", "CERTIFICATE_EXPIRATION HOST_OS_ERROR INFRA_COMPONENT_MAINTENANCE INFRA_COMPONENT_POWER_OUTAGE NODE_DOWN SYSTEM_LICENSE_EXPIRATION PROCESSOR_SENSOR"},
	{"Node", "CPU_BUS CPU_CONFIGURATION CPU_DOWN CPU_PROTOCOL CPU_TEMPERATURE CPU_THROTTLING"},
	{"Node", "MEMORY_BIT_ERROR MEMORY_CONFIGURATION MEMORY_ECC MEMORY_REDUNDANCY MEMORY_STATE MEMORY_TEMPERATURE"},
	{"Node", "NIC_CABLE NIC_CONFIGURATION NIC_DOWN NIC_LINK_DOWN NIC_LINK_TUNING NIC_PCI_ERROR NIC_PCI_PARITY_ERROR NIC_PCIE_ERROR NIC_RECEIVE_FAILURE NIC_TRANSMIT_FAILURE"},
	{"Node", "STORAGE_BIT_ERROR STORAGE_BLOCK_ERROR STORAGE_CACHE STORAGE_CAPACITY STORAGE_CHECK STORAGE_COMMUNICATION STORAGE_CONFIGURAION STORAGE_CONTROLLER STORAGE_DOWN STORAGE_DRIVE_ARRAY STORAGE_ECC STORAGE_ENCLOSURE STORAGE_FAILURE_PREDICTION STORAGE_MEMORY STORAGE_PHYSICAL_DISK_DEGRADED STORAGE_PHYSICAL_DISK_STATE STORAGE_POWER STORAGE_REBUILD STORAGE_REDUNDANCY STORAGE_SCSI STORAGE_SENSOR STORAGE_SMART STORAGE_TEMPERATURE STORAGE_VIRTUAL_DISK_DEGRADED STORAGE_VIRTUAL_DISK_STATE"},
	{"Network", "NETWORK_CONFIGURATION NETWORK_CONNECTVITY_SIGNAL NETWORK_CPU_OVERLOAD NETWORK_MEMORY_OVERLOAD NETWORK_OVERLOAD NETWORK_PACKET_LOSS NETWORK_QOS"},
}

// ProbableCauses returns all there are, in the standard's order.
func ProbableCauses() []ProbableCause {
	var list []ProbableCause
	for _, group := range causeCodes {
		for code := range strings.FieldsSeq(group.codes) {
			spelling := strings.NewReplacer("CONFIGURAION", "CONFIGURATION", "CONNECTVITY", "CONNECTIVITY").Replace(code)
			list = append(list, ProbableCause{
				ID: ProbableCauseID(code), Code: code, Spelling: spelling, Object: group.object,
				EventType: eventTypeOf(spelling), Description: describeCause(spelling),
			})
		}
	}
	return list
}

// eventTypeOf groups probable causes.
//
// Source: ITU-T X.733, event types; O-RAN.WG6.TS.O2IMS-INTERFACE, probable causes.
func eventTypeOf(code string) string {
	for _, rule := range []struct{ words, event string }{
		{"TEMPERATURE ENCLOSURE", "ENVIRONMENTAL_ALARM"},
		{"CAPACITY DEGRADED OVERLOAD QOS", "QOS_ALARM"},
		{"LINK COMMUNICATION CONNECTIVITY PACKET_LOSS", "COMMUNICATIONS_ALARM"},
		{"CONFIGURATION BIT_ERROR LICENSE CERTIFICATE", "PROCESSING_ERROR_ALARM"},
	} {
		for word := range strings.FieldsSeq(rule.words) {
			if strings.Contains(code, word) {
				return rule.event
			}
		}
	}
	return "EQUIPMENT_ALARM"
}

// describeCause makes words of a code: "Storage: physical disk degraded".
func describeCause(code string) string {
	subject, rest, _ := strings.Cut(code, "_")
	switch subject {
	case "CPU", "NIC":
	case "CERTIFICATE", "HOST", "INFRA", "NODE", "SYSTEM", "PROCESSOR":
		subject, rest = "Node", code
	default:
		subject = subject[:1] + strings.ToLower(subject[1:])
	}
	words := strings.ToLower(strings.ReplaceAll(rest, "_", " "))
	for _, name := range []string{"os", "pci", "pcie", "ecc", "scsi", "smart", "qos", "cpu"} {
		words = strings.TrimSpace(strings.ReplaceAll(" "+words+" ", " "+name+" ", " "+strings.ToUpper(name)+" "))
	}
	return subject + ": " + words
}

// causeOfAlert maps well-known alerts of kubernetes-mixin, node-mixin and ourselves.
//
// Source: docs/alarms.md.
var causeOfAlert = map[string]string{
	"KubeNodeNotReady":                      "NODE_DOWN",
	"KubeNodeUnreachable":                   "NODE_DOWN",
	"KubeNodeReadinessFlapping":             "NODE_DOWN",
	"KubeletDown":                           "NODE_DOWN",
	"NodeFilesystemSpaceFillingUp":          "STORAGE_CAPACITY",
	"NodeFilesystemAlmostOutOfSpace":        "STORAGE_CAPACITY",
	"NodeFilesystemFilesFillingUp":          "STORAGE_CAPACITY",
	"NodeFilesystemAlmostOutOfFiles":        "STORAGE_CAPACITY",
	"KubePersistentVolumeFillingUp":         "STORAGE_CAPACITY",
	"KubePersistentVolumeInodesFillingUp":   "STORAGE_CAPACITY",
	"NodeRAIDDegraded":                      "STORAGE_VIRTUAL_DISK_DEGRADED",
	"NodeRAIDDiskFailure":                   "STORAGE_PHYSICAL_DISK_STATE",
	"NodeDiskIOSaturation":                  "STORAGE_BLOCK_ERROR",
	"NodeNetworkReceiveErrs":                "NIC_RECEIVE_FAILURE",
	"NodeNetworkTransmitErrs":               "NIC_TRANSMIT_FAILURE",
	"NodeNetworkInterfaceFlapping":          "NIC_LINK_TUNING",
	"NodeNetworkInterfaceDown":              "NIC_LINK_DOWN",
	"NodeBondingDegraded":                   "NIC_LINK_DOWN",
	"NodeMemoryMajorPagesFaults":            "MEMORY_STATE",
	"NodeMemoryHighUtilization":             "MEMORY_STATE",
	"NodeEDACCorrectableErrorsDetected":     "MEMORY_ECC",
	"NodeEDACUncorrectableErrorsDetected":   "MEMORY_ECC",
	"NodeCPUHighUsage":                      "CPU_THROTTLING",
	"CPUThrottlingHigh":                     "CPU_THROTTLING",
	"KubeClientCertificateExpiration":       "CERTIFICATE_EXPIRATION",
	"KubeletClientCertificateExpiration":    "CERTIFICATE_EXPIRATION",
	"KubeletServerCertificateExpiration":    "CERTIFICATE_EXPIRATION",
	"KubeletClientCertificateRenewalErrors": "CERTIFICATE_EXPIRATION",
	"KubeletServerCertificateRenewalErrors": "CERTIFICATE_EXPIRATION",
	"KubeAPIDown":                           "CLUSTER_COMMUNICATION",
	"Watchdog":                              "CLUSTER_COMMUNICATION",
	"KubeAggregatedAPIDown":                 "CLUSTER_COMMUNICATION",
	"KubeControllerManagerDown":             "CLUSTER_COMMUNICATION",
	"KubeSchedulerDown":                     "CLUSTER_COMMUNICATION",
}

// CauseLabel is the label by which a rule names the probable cause of its alerts itself.
const CauseLabel = "oran_probable_cause"

// causes finds probable causes. It never changes.
type causes struct{ known map[string]uuid.UUID } // by code and by spelling

func newCauses() *causes {
	c := &causes{known: make(map[string]uuid.UUID)}
	for _, p := range ProbableCauses() {
		c.known[p.Code], c.known[p.Spelling] = p.ID, p.ID
	}
	return c
}

// of returns the probableCauseId for an alert about an object. It is always in the list.
func (c *causes) of(labels map[string]string, o Object) uuid.UUID {
	if id, known := c.known[strings.ToUpper(labels[CauseLabel])]; known {
		return id
	}
	if code, known := causeOfAlert[labels[nameLabel]]; known {
		return c.known[code]
	}
	if o.scope() == scopeNode {
		return c.known[causeUnmappedNode]
	}
	return c.known[causeUnmappedCluster]
}
