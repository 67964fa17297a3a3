package contract

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/alarm"
	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/contract/conformance"
	"github.com/o2ims/o2ims/test/contract/serve"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // refusals are most of what these tests do
	os.Exit(m.Run())
}

// Tokens of the two callers.
const (
	adminToken  = "token-of-the-admin"
	readerToken = "token-of-the-reader"
)

const namespace = "o2ims"

// apiserver knows the two callers: the admin may do everything, the reader may get
// everything but what it takes to reach a cluster.
func apiserver() *fake.Clientset {
	clients := fake.NewClientset()
	clients.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		user := map[string]string{adminToken: "admin", readerToken: "reader"}[review.Spec.Token]
		if user != "" {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authenticationv1.UserInfo{Username: user}}
		}
		return true, review, nil
	})
	clients.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = review.Spec.User == "admin" || review.Spec.NonResourceAttributes.Verb == "get"
		return true, review, nil
	})
	return clients
}

// serviceURI is where the server says it is; nobody goes there.
const serviceURI = "https://o2ims.example.net"

// tokens are what service accounts have in managed clusters.
type tokens struct{}

func (tokens) ClusterToken(_ context.Context, cluster string) ([]byte, time.Time, error) {
	return []byte("token.of." + cluster), time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), nil
}

// api returns the inventory API over the synthetic O-Cloud, in pages so short that most lists
// have several.
func api(t testing.TB, access inventory.Access, majors ...string) *inventory.API {
	t.Helper()
	pager := rest.NewPager(rest.PagingOptions{Size: 3, Decimal: true, BaseURL: serviceURI}, make([]byte, rest.MarkerKeyBytes))
	return inventory.NewAPI(oCloud(t), access, inventory.APIOptions{Versions: majors, Credentials: tokens{}}, pager)
}

// routes registers what the inventory serves: its records, and subscriptions to them, which
// are kept in an embedded store.
func routes(t testing.TB, r *mux.Router, access inventory.Access, majors ...string) {
	t.Helper()
	a := api(t, access, majors...)
	a.Routes(r)
	with := serve.NewBacking(t)
	service := subscription.Service{Name: "inventory", Versions: majors, Kinds: func(version string) subscription.Kinds { return a.ObjectTypes(version) }}
	pager := rest.NewPager(rest.PagingOptions{Size: 3, Decimal: true, BaseURL: serviceURI}, make([]byte, rest.MarkerKeyBytes))
	subscription.NewAPI(with.Delivery, subscription.APIParts{
		Store: with.Store, Service: service, Callbacks: with.Callback, Pager: pager, Access: access, BaseURL: serviceURI,
	}).Routes(r, inventory.BasePath)
}

// startServer starts the manager's server on loopback and returns it as a target.
func startServer(t testing.TB, majors ...string) conformance.Target {
	t.Helper()
	clients, clock, registry := apiserver(), auth.SystemClock{}, prometheus.NewRegistry()
	authorizer := auth.NewAuthorizer(clients.AuthorizationV1().SubjectAccessReviews(), clock)
	tokens := auth.NewTokenReviews(clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, clock)
	s := serve.Start(t,
		server.Options{BindAddress: "127.0.0.1", CertSecret: "o2ims-serving-cert", ServiceName: "o2ims", Namespace: namespace, ExternalURL: serviceURI},
		server.Parts{
			Mounts: []server.Mount{
				{Prefix: inventory.BasePath, Routes: func(r *mux.Router) { routes(t, r, authorizer, majors...) }},
				{Prefix: alarm.BasePath, Routes: func(r *mux.Router) { monitoringRoutes(t, r, authorizer, majors...) }},
			},
			Gate:    auth.NewGate(auth.ByIssuer{Default: tokens}, authorizer, registry),
			Metrics: registry,
			Secrets: clients.CoreV1().Secrets(namespace),
		})
	return conformance.Target{
		URL: s.URL, Token: adminToken, ReaderToken: readerToken, CA: s.CA,
		Majors: majors, Monitoring: true, NoSkip: true, Seed: 1,
	}
}

const oCloudID = "262c8f17-52b5-4614-9e56-812ae21fa8a7"

// began is when the oldest cluster was made.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// oCloud returns a model with at least one of everything that the standards know: clusters
// that answer and clusters that do not, pools over several clusters, a machine claimed twice,
// machines of several makes, labels with every character, and places described in every way.
func oCloud(t testing.TB) *inventory.Model {
	t.Helper()
	m, err := inventory.New(inventory.Options{
		OCloudID: oCloudID, GlobalCloudID: "18f2dc90-b375-47dd-b8dc-ae80072e6cdb", Name: "north", Description: "north region",
		ServiceURI: serviceURI, Extensions: map[string]string{"owner": "operations", "app.io/tier": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.SetHierarchy(hierarchy())
	for i, c := range []struct {
		name, set, available string
		away                 time.Duration // for how long its add-on has been silent
		nodes                []hardware.Machine
	}{
		{"edge-1", "east", "True", 0, []hardware.Machine{server1("a", "uuid:a"), server2("b", "uuid:b"), server1("c", "uuid:c"), bare("bare-1", "uuid:bare")}},
		{"edge-2", "east", "True", 48 * time.Hour, []hardware.Machine{server1("d", "uuid:d"), server2("e", "uuid:e")}},
		{"edge-3", "west", "Unknown", 72 * time.Hour, []hardware.Machine{server2("f", "uuid:f"), server1("again", "uuid:a")}},
		{"edge-4", "", "True", 0, []hardware.Machine{virtual("g", "uuid:g"), virtual("h", "uuid:h"), virtual("i", "uuid:i"), virtual("j", "uuid:j")}},
		{"edge-5", "west", "True", 0, nil},
	} {
		m.SetCluster(cluster(c.name, c.set, c.available, i))
		m.SetReport(c.name, report.Inventory{V: 1, Cluster: c.name, Nodes: c.nodes}, report.Head{
			Envelope: report.Envelope{V: 1, Epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", Seq: 1, SHA256: c.name}, Nodes: len(c.nodes), Detail: report.DetailFull,
		})
		if c.away > 0 {
			m.SetReporting(c.name, inventory.Reporting{AddOn: inventory.Disabled, Since: began.Add(c.away)})
		}
	}
	return m
}

func cluster(name, set, available string, age int) inventory.ClusterFacts {
	return inventory.ClusterFacts{
		Name: name, UID: "uid-" + name, ClusterID: fmt.Sprintf("00000000-0000-4000-8000-%012d", age+1), Created: began.AddDate(0, 0, age), ClusterSet: set,
		ServiceURI: "https://api." + name + ".example.net:6443", CABundle: []byte("-----BEGIN CERTIFICATE-----\nof " + name + "\n-----END CERTIFICATE-----\n"),
		Labels:   map[string]string{"region.example.net/zone": "z" + name[5:], "tier": "edge", "feature.open-cluster-management.io/addon-o2ims": "available"},
		Claims:   map[string]string{"platform.open-cluster-management.io": "BareMetal", "product.open-cluster-management.io": "Kubernetes"},
		Capacity: map[string]string{"cpu": "64", "memory": "256Gi", "pods": "250"}, Allocatable: map[string]string{"cpu": "63500m", "memory": "250Gi", "pods": "250", "hugepages-1Gi": "0"},
		KubernetesVersion: "v1.35.0", Available: available, Accepted: true,
	}
}

// server1 is a machine with several parts of one class, ready. Its speed depends on its name.
func server1(name, key string) hardware.Machine {
	zero, one := 0, 1
	return hardware.Machine{
		Name: name, Key: key,
		Server: hardware.Server{
			Vendor: "Dell Inc.", Model: "PowerEdge XR8620t", Serial: "SN-" + name, SKU: "0C23", Chassis: "Rack Mount Chassis", MemoryBytes: 64 << 30, CPUs: 96,
			SystemUUID: "4c4c4544-0000-4000-8000-00000000000a",
			BIOS:       &hardware.BIOS{Vendor: "Dell Inc.", Version: "2.1", Date: "01/02/2026"},
			Board:      &hardware.Board{Vendor: "Dell Inc.", Model: "0F7W2K", Serial: "B-" + name},
			OS:         &hardware.OS{Architecture: "amd64", Kernel: "6.1.0-28-rt-amd64", Name: "Debian GNU/Linux 12", Kubelet: "v1.35.0", ContainerRuntime: "containerd://2.1.0"},
			NUMA:       []hardware.NUMANode{{ID: 0, CPUs: "0-47", MemoryBytes: 32 << 30}, {ID: 1, CPUs: "48-95", MemoryBytes: 32 << 30}},
			Node: &hardware.NodeState{
				Ready: "True", Roles: []string{"control-plane", "worker"}, Addresses: []string{"InternalIP=192.0.2.7"},
				Capacity: map[string]string{"cpu": "96", "memory": "64Gi"}, Allocatable: map[string]string{"cpu": "95500m", "memory": "60Gi"},
				Labels: map[string]string{"kubernetes.io/hostname": name, "hugepages-1Gi": "8", "app.kubernetes.io/part-of": "du", "0digit": "first", "zone": "z1", "we~ird,k@ey": "all of it"},
			},
		},
		Elements: []hardware.Element{
			{Class: hardware.Accelerator, Slot: "0000:03:00", Subtype: "fec", Vendor: "Intel", Model: "ACC200", Driver: "vfio-pci"},
			{Class: hardware.Adapter, Slot: "0000:01:00", Vendor: "Intel", Model: "E810-C", SRIOV: &hardware.SRIOV{Num: 8, Total: 64}, NUMA: &zero},
			{Class: hardware.Memory, Slot: "DIMM A1", Vendor: "Micron", Serial: "M1-" + name, Memory: &hardware.DIMM{Bytes: 32 << 30, Type: "DDR5", ECC: true, MTs: 4800}},
			{Class: hardware.Memory, Slot: "DIMM B1", Vendor: "Micron", Serial: "M2-" + name, Memory: &hardware.DIMM{Bytes: 32 << 30, Type: "DDR5", ECC: true, MTs: 4800}},
			{Class: hardware.Port, Slot: "0000:01:00.0", Parent: "adapter|0000:01:00", Vendor: "Intel", Model: "E810-C", Driver: "ice", Firmware: "4.40",
				PCI: &hardware.PCIDevice{Address: "0000:01:00.0", Vendor: "8086", Device: "1592"}, Port: &hardware.PortState{Name: "eno1", MAC: "00:11:22:33:44:55", SpeedMbps: 1000 * int(10+5*(name[0]-'a')), Link: "up", MTU: 9000}},
			{Class: hardware.Port, Slot: "0000:01:00.1", Parent: "adapter|0000:01:00", Vendor: "Intel", Model: "E810-C",
				PCI: &hardware.PCIDevice{Address: "0000:01:00.1"}, Port: &hardware.PortState{Name: "eno2", MAC: "00:11:22:33:44:56", SpeedMbps: 10000, Link: "down"}},
			{Class: hardware.Processor, Slot: "socket/0", Vendor: "Intel", Model: "Xeon Gold 6438N", NUMA: &zero, CPU: &hardware.CPU{Cores: 24, Threads: 48, MHz: 2000, Flags: []string{"avx512f", "amx_tile"}}},
			{Class: hardware.Processor, Slot: "socket/1", Vendor: "Intel", Model: "Xeon Gold 6442Y", NUMA: &one, CPU: &hardware.CPU{Cores: 20, Threads: 40, MHz: 2600}},
			{Class: hardware.PTPClock, Slot: "phc/0000:01:00.0", Parent: "port|0000:01:00.0"},
			{Class: hardware.Storage, Slot: "sn/S1", Model: "PM9A3", Serial: "S1-" + name, Disk: &hardware.Disk{Name: "nvme0n1", Bytes: 960 << 30, Media: "NVME", WWN: "eui.01"}},
		},
	}
}

// server2 is of a make whose name takes care in filters, not ready, and made up.
func server2(name, key string) hardware.Machine {
	return hardware.Machine{
		Name: name, Key: key,
		Server: hardware.Server{
			Vendor: "Bob's, and Sons", Model: "Telco's 1", Serial: "B-" + name, MemoryBytes: 32 << 30, Synthetic: true,
			OS:   &hardware.OS{Architecture: "arm64", Kernel: "6.8.1-1015-realtime"},
			Node: &hardware.NodeState{Ready: "False", Unschedulable: true, Roles: []string{"worker"}, Taints: []string{"node.kubernetes.io/unreachable:NoSchedule"}, Labels: map[string]string{"kubernetes.io/hostname": name, "zone": "z2"}},
		},
		Elements: []hardware.Element{
			{Class: hardware.Port, Slot: "net/eth0", Model: "X550, dual port", Port: &hardware.PortState{Name: "eth0", MAC: "00:11:22:33:44:77", SpeedMbps: 100000, Link: "up"}},
			{Class: hardware.Processor, Slot: "socket/0", Vendor: "Ampere", Model: "Altra", CPU: &hardware.CPU{Cores: 80, Threads: 80, MHz: 3000}},
			{Class: hardware.Storage, Slot: "dev/sda", Model: "ST4000", Serial: "S2-" + name, Disk: &hardware.Disk{Name: "sda", Bytes: 4000 << 30, Media: "HDD"}},
			{Class: hardware.Storage, Slot: "dev/sdb", Model: "ST4000", Serial: "S3-" + name, Disk: &hardware.Disk{Name: "sdb", Bytes: 4000 << 30, Media: "HDD"}},
		},
	}
}

// bare is a machine of which only the node is known.
func bare(name, key string) hardware.Machine { return hardware.Machine{Name: name, Key: key} }

func virtual(name, key string) hardware.Machine {
	return hardware.Machine{
		Name: name, Key: key,
		Server: hardware.Server{
			Vendor: "QEMU", Model: "Standard PC", Virtual: "kvm", MemoryBytes: 8 << 30,
			Node: &hardware.NodeState{Ready: "True", Roles: []string{"worker"}, Labels: map[string]string{"kubernetes.io/hostname": name}},
		},
		Elements: []hardware.Element{{Class: hardware.Processor, Slot: "socket/0", CPU: &hardware.CPU{Cores: 2, Threads: 2}}},
	}
}

func hierarchy() inventory.Hierarchy {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(began)}
	}
	ref := func(name string) apiv1alpha1.ObjectName { return apiv1alpha1.ObjectName{Name: name} }
	return inventory.Hierarchy{
		Locations: []apiv1alpha1.Location{
			{ObjectMeta: meta("loc-east"), Spec: apiv1alpha1.LocationSpec{
				DisplayName: "East, harbour", Description: "by the water", Address: "123 Street, City",
				Coordinate:   &apiv1alpha1.Coordinate{Latitude: "38.89", Longitude: "-77.03", Altitude: "12.5"},
				CivicAddress: []apiv1alpha1.CivicAddressElement{{CAType: 1, CAValue: "State"}, {CAType: 3, CAValue: "City"}},
				Extensions:   map[string]string{"country": "US", "app.io/x": "1"},
			}},
			{ObjectMeta: meta("loc-west"), Spec: apiv1alpha1.LocationSpec{
				GlobalLocationID: "west side/100% é", Coordinate: &apiv1alpha1.Coordinate{Latitude: "34.05", Longitude: "-118.24"}, Extensions: map[string]string{"country": "ES"},
			}},
			{ObjectMeta: meta("loc-hill"), Spec: apiv1alpha1.LocationSpec{
				DisplayName: "Hill", CivicAddress: []apiv1alpha1.CivicAddressElement{{CAType: 3, CAValue: "Town"}, {CAType: 1, CAValue: "State"}},
			}},
		},
		Sites: []apiv1alpha1.OCloudSite{
			{ObjectMeta: meta("east"), Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: ref("loc-east"), Description: "harbour", Extensions: map[string]string{"power": "2N"}}},
			{ObjectMeta: meta("west"), Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: ref("loc-west")}},
			{ObjectMeta: meta("empty"), Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: ref("loc-hill")}},
		},
		Pools: []apiv1alpha1.ResourcePool{
			{ObjectMeta: meta("arm"), Spec: apiv1alpha1.ResourcePoolSpec{
				SiteRef: ref("east"), Description: "of several clusters", Extensions: map[string]string{"country": "US", "note": "it's, arm"},
				Selectors: []apiv1alpha1.ResourcePoolSelector{{Nodes: &apiv1alpha1.NodeSelector{Names: []string{"b", "e", "f", "h"}}}},
			}},
			{ObjectMeta: meta("spare"), Spec: apiv1alpha1.ResourcePoolSpec{SiteRef: ref("west"), Extensions: map[string]string{"country": "ES", "app.io/x": "1"}}},
		},
	}
}
