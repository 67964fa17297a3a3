package alarm

import (
	"maps"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/report"
)

// recordNamespace is that of our alarmEventRecordIds. It never changes.
var recordNamespace = uuid.MustParse("b7a4c1de-5e0f-4d0c-8f4b-93f1d2a6c7e5")

// RecordID is the alarmEventRecordId of an episode of an alert of a managed cluster.
func RecordID(cluster string, e report.Episode) uuid.UUID {
	return uuid.NewSHA1(recordNamespace, []byte(cluster+"|"+e.String()))
}

// Classes of objects that alarms are about.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventRecord, objectClass.
const (
	ClassOCloud            = "oran.o2ims.inventory.OCloud"
	ClassDeploymentManager = "oran.o2ims.inventory.DeploymentManager"
	ClassNodeCluster       = "oran.o2ims.cluster.NodeCluster"
	ClassResource          = "oran.o2ims.inventory.Resource"
	ClassClusterResource   = "oran.o2ims.cluster.ClusterResource"
)

// Object is what an alarm is about, as the inventory knows it. Every ID resolves there.
type Object struct {
	Class        string    // one of the classes
	ID           uuid.UUID // objectId
	TypeID       uuid.UUID // objectTypeId
	DictionaryID uuid.UUID // alarmDictionaryId of the type
}

func (o *Object) scope() scope {
	switch o.Class {
	case ClassResource, ClassClusterResource:
		return scopeNode
	default:
		return scopeCluster
	}
}

// Objects finds what alarms are about. Implementations are safe for concurrent use, and
// answer from memory.
type Objects interface {
	// OCloud is the O-Cloud itself: what nothing else is known of is about it.
	OCloud() Object

	// Cluster returns the object that stands for a ManagedCluster, by its name.
	Cluster(cluster string) (Object, bool)

	// Node returns the server that is a node of a cluster, by the Node's name or one of
	// its addresses.
	Node(cluster, node string) (Object, bool)

	// Device returns an element of such a server by the name that the kernel gives it
	// ("ens1f0", "sda", "nvme0n1") or its PCI address ("0000:3b:00.0", lower case).
	Device(cluster, node, device string) (Object, bool)
}

// nameLabel is the label in which an alert has its name.
const nameLabel = "alertname"

// Mapper makes records of alerts. Its methods are safe for concurrent use.
type Mapper struct {
	objects   Objects
	catalogue *Catalogue
	options   MappingOptions
	levels    Severities
	causes    *causes
}

// NewMapper returns a mapper. The options must be valid.
func NewMapper(o MappingOptions, objects Objects, c *Catalogue) (*Mapper, error) {
	levels, err := o.severities()
	if err != nil {
		return nil, err
	}
	return &Mapper{objects: objects, catalogue: c, options: o, levels: levels, causes: newCauses()}, nil
}

// fill sets everything in a record that follows from its cluster and its labels.
func (m *Mapper) fill(r *Record) {
	o := m.object(r.Cluster, r.Labels)
	label := r.Labels[m.options.SeverityLabel]
	r.ObjectClass, r.ObjectID, r.ObjectTypeID = o.Class, o.ID, o.TypeID
	r.Severity = m.levels.Of(label)
	r.DefinitionID = m.catalogue.definition(&o, r.Labels[nameLabel], label, r.Severity)
	r.ProbableCauseID = m.causes.of(r.Labels, o)
}

// object returns what the labels are about: the smallest thing that the inventory knows.
func (m *Mapper) object(cluster string, labels map[string]string) Object {
	for _, node := range m.nodes(labels) {
		o, found := m.objects.Node(cluster, node)
		if !found {
			continue
		}
		for _, device := range m.devices(labels) {
			if d, found := m.objects.Device(cluster, node, device); found {
				return d
			}
		}
		return o
	}
	if o, found := m.objects.Cluster(cluster); found {
		return o
	}
	return m.objects.OCloud()
}

// nodes are the texts in labels that can name a node, the likeliest first.
func (m *Mapper) nodes(labels map[string]string) []string {
	var list []string
	for _, name := range m.options.NodeLabels {
		text := strings.TrimSpace(labels[name])
		if text == "" {
			continue
		}
		list = append(list, text)
		if host, _, err := net.SplitHostPort(text); err == nil {
			list, text = append(list, host), host
		}
		if short, _, dotted := strings.Cut(text, "."); dotted && net.ParseIP(text) == nil {
			list = append(list, short)
		}
	}
	return list
}

// devices are the texts in labels that can name a part of a node, the likeliest first.
func (m *Mapper) devices(labels map[string]string) []string {
	var list []string
	for _, name := range m.options.DeviceLabels {
		text := strings.TrimPrefix(strings.TrimSpace(labels[name]), "/dev/")
		if text == "" {
			continue
		}
		if pci, is := pciAddress(text); is {
			list = append(list, pci)
			continue
		}
		list = append(list, text)
		if disk, is := diskOf(text); is {
			list = append(list, disk)
		}
	}
	return list
}

var (
	pciPattern       = regexp.MustCompile(`^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$`)
	partitionPattern = regexp.MustCompile(`^((?:nvme\d+n\d+|mmcblk\d+|nbd\d+|md\d+)(?:p\d+)|((?:sd|vd|xvd|hd)[a-z]+)\d+)$`)
)

// pciAddress brings a PCI address into the kernel's form: 0000:3b:00.0. Some exporters
// leave the domain out, others print it with eight digits.
func pciAddress(text string) (string, bool) {
	parts := pciPattern.FindStringSubmatch(strings.ToLower(text))
	if parts == nil {
		return "", false
	}
	domain := parts[1]
	switch {
	case domain == "":
		domain = "0000"
	case len(domain) > 4 && strings.HasPrefix(domain, strings.Repeat("0", len(domain)-4)):
		domain = domain[len(domain)-4:]
	}
	return domain + ":" + parts[2] + ":" + parts[3] + "." + parts[4], true
}

// diskOf returns the disk that a partition is on.
func diskOf(partition string) (string, bool) {
	parts := partitionPattern.FindStringSubmatch(partition)
	if parts == nil {
		return "", false
	}
	if parts[2] != "" {
		return parts[2], true
	}
	return partition[:strings.LastIndexByte(partition, 'p')], true
}

// news is what is known of an episode when it is first heard of.
type news struct {
	cluster    string
	episode    report.Episode
	text       *report.AlertText
	via        string
	suppressed bool
	received   time.Time
}

// raise returns the record of an episode that nobody has heard of.
func (m *Mapper) raise(n news) Record {
	starts := millis(n.episode.Starts)
	r := Record{
		ID: RecordID(n.cluster, n.episode), Cluster: n.cluster, Fingerprint: n.episode.Fingerprint,
		Raised: starts, Changed: starts, Received: n.received.UTC().Truncate(time.Millisecond),
		Labels: n.text.Labels, Annotations: n.text.Annotations, GeneratorURL: n.text.GeneratorURL,
		Suppressed: n.suppressed, Via: n.via,
	}
	m.fill(&r)
	return r
}

// refresh brings an active record up to what its alert says now, and tells whether that
// makes a difference to anybody.
func (m *Mapper) refresh(r *Record, text *report.AlertText, suppressed bool, at time.Time) bool {
	before := *r
	r.Annotations, r.GeneratorURL, r.Suppressed = text.Annotations, text.GeneratorURL, suppressed
	m.fill(r)
	differs := !maps.Equal(before.Annotations, r.Annotations) || before.GeneratorURL != r.GeneratorURL ||
		before.Suppressed != r.Suppressed || before.Severity != r.Severity || before.ObjectID != r.ObjectID ||
		before.DefinitionID != r.DefinitionID || before.ProbableCauseID != r.ProbableCauseID
	if differs {
		r.Changed = at
	}
	return differs
}

// end clears an alarm. One cannot end before it began, whatever the clocks say.
func end(r *Record, at time.Time, by ClearedBy, estimated bool) {
	if at.Before(r.Raised) {
		at = r.Raised
	}
	r.Cleared, r.Changed, r.ClearedBy, r.Estimated = at, at, by, estimated
}

// reopen undoes the end of an alarm that turned out to go on. Whoever acknowledged it
// believed it to be over.
func reopen(r *Record, at time.Time) {
	r.Cleared, r.ClearedBy, r.Estimated = time.Time{}, "", false
	r.Acknowledged, r.AcknowledgedBy = time.Time{}, ""
	r.Changed = at
}
