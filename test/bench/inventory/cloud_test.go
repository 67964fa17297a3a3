package inventory

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/test/contract/serve"
	"github.com/o2ims/o2ims/test/harness/fleet"
)

const (
	nodes    = 3 // of each managed cluster
	poolName = "everything"
	site     = "field"
	oCloudID = "262c8f17-52b5-4614-9e56-812ae21fa8a7"
	seed     = 20260822

	// memoryBase is where the server answers with bytes that it has in memory.
	memoryBase = "/memory"
)

// cloud is an O-Cloud whose servers are all in one pool, and its API.
type cloud struct {
	model     *inventory.Model
	url       string // of the server
	resources string // path of the pool's resources, in version 2
	handler   http.Handler
	client    *http.Client

	ids, systems, hosts []string // of the servers: resourceId, systemUUID, name of the node

	mu     sync.Mutex
	memory []byte // what memoryBase answers with
}

// inMemory answers with bytes from memory: as fast as this server can be.
func (c *cloud) inMemory(w http.ResponseWriter, _ *http.Request) error {
	c.mu.Lock()
	body := c.memory
	c.mu.Unlock()
	return rest.WriteEncoded(w, http.StatusOK, body)
}

// everybody is an authenticator that has seen the caller before.
type everybody struct{}

func (everybody) Authenticate(context.Context, auth.Credentials) (auth.Identity, error) {
	return auth.Identity{Name: "reader"}, nil
}

// allowing answers the authorizer's questions, each of which it then remembers. It may not
// see profiles.
type allowing struct {
	authorizationclient.SubjectAccessReviewInterface
}

func (allowing) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	r = r.DeepCopy()
	r.Status.Allowed = r.Spec.NonResourceAttributes.Verb == "get"
	return r, nil
}

// newCloud starts an O-Cloud with so many servers, whose lists have so many records a page.
func newCloud(b testing.TB, servers, pageSize int) *cloud {
	b.Helper()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	model, err := inventory.New(inventory.Options{OCloudID: oCloudID, Name: "bench", ServiceURI: "https://o2ims.example.net"})
	if err != nil {
		b.Fatal(err)
	}
	pool := apiv1alpha1.ResourcePool{ObjectMeta: metav1.ObjectMeta{Name: poolName}}
	pool.Spec.SiteRef.Name = site
	pool.Spec.Selectors = []apiv1alpha1.ResourcePoolSelector{{}}
	model.SetHierarchy(inventory.Hierarchy{
		Sites: []apiv1alpha1.OCloudSite{{ObjectMeta: metav1.ObjectMeta{Name: site}}},
		Pools: []apiv1alpha1.ResourcePool{pool},
	})
	c := &cloud{model: model}
	f := fleet.Fleet{Clusters: (servers + nodes - 1) / nodes, Nodes: nodes, Seed: seed, Prefix: "edge"}
	for i := range f.Clusters {
		inv := f.Inventory(i)
		inv.Nodes = inv.Nodes[:min(nodes, servers-i*nodes)]
		model.SetCluster(inventory.ClusterFacts{
			Name: inv.Cluster, UID: "uid-" + inv.Cluster, ClusterID: "id-" + inv.Cluster, Available: "True", Accepted: true,
			Created: time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC),
		})
		setReport(model, inv)
		for n := range inv.Nodes {
			c.systems = append(c.systems, inv.Nodes[n].Server.SystemUUID)
			c.hosts = append(c.hosts, inv.Nodes[n].Name)
		}
	}
	id := inventory.PoolID(oCloudID, site, poolName)
	for srv := range model.Snapshot().Servers(id) {
		c.ids = append(c.ids, srv.ID.String())
	}
	if len(c.ids) != servers {
		b.Fatalf("%d servers in the pool, want %d", len(c.ids), servers)
	}
	c.resources = inventory.BasePath + "/v2/resourcePools/" + id.String() + "/resources"
	c.start(b, pageSize)
	c.change(b, f)
	return c
}

func setReport(m *inventory.Model, inv report.Inventory) {
	text, err := json.Marshal(inv)
	if err != nil {
		panic(err) // a report is JSON
	}
	digest := sha256.Sum256(text)
	m.SetReport(inv.Cluster, inv, report.Head{Envelope: report.Envelope{V: inv.V, Epoch: oCloudID, SHA256: hex.EncodeToString(digest[:])}, Detail: report.DetailFull})
}

// start serves the API.
func (c *cloud) start(b testing.TB, pageSize int) {
	b.Helper()
	registry := prometheus.NewRegistry()
	authorizer := auth.NewAuthorizer(allowing{}, auth.SystemClock{})
	api := inventory.NewAPI(c.model, authorizer, inventory.APIOptions{Versions: []string{"v1", "v2"}},
		rest.NewPager(rest.PagingOptions{Size: pageSize, Decimal: true}, []byte("a key of replicas")))
	s := serve.Start(b, server.Options{BindAddress: "127.0.0.1", CertSecret: "cert", ServiceName: "o2ims", Namespace: "o2ims"}, server.Parts{
		Mounts: []server.Mount{
			{Prefix: inventory.BasePath, Routes: api.Routes},
			{Prefix: memoryBase, Routes: func(r *mux.Router) { r.Handle(memoryBase, rest.Methods{http.MethodGet: c.inMemory}) }},
		},
		Gate: auth.NewGate(everybody{}, authorizer, registry), Metrics: registry, Secrets: fake.NewClientset().CoreV1().Secrets("o2ims"),
	})
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(s.CA)
	c.url, c.handler = s.URL, s.Handler()
	c.client = &http.Client{Transport: &http.Transport{DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13}}}
}

// change lets one managed cluster report something new each second.
func (c *cloud) change(b testing.TB, f fleet.Fleet) {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		rng := rand.New(rand.NewPCG(seed, 1))
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			inv := f.Inventory(rng.IntN(max(1, f.Clusters-1))) // the last may be smaller
			inv.Nodes[0].Server.BIOS.Version = fmt.Sprint(n)
			inv.Nodes = inv.Nodes[:min(len(inv.Nodes), len(c.ids))]
			setReport(c.model, inv)
		}
	})
	b.Cleanup(func() { stop(); group.Wait() })
}

// get asks the server and returns how many bytes it answered, and the header.
func (c *cloud) get(b testing.TB, path string, headers ...string) (int64, http.Header) {
	b.Helper()
	r := c.do(b, path, headers...)
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		b.Fatal(err)
	}
	return n, r.Header
}

// body is what the server answers.
func (c *cloud) body(b testing.TB, path string) []byte {
	b.Helper()
	r := c.do(b, path)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func (c *cloud) do(b testing.TB, path string, headers ...string) *http.Response {
	b.Helper()
	req, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	r, err := c.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusNotModified {
		text, _ := io.ReadAll(r.Body)
		b.Fatalf("%s: %d %s", path, r.StatusCode, text)
	}
	return r
}

// filterFor is a filter that one server of all matches.
func filterFor(path, value string) string {
	return "?filter=(eq," + path + "," + strings.ReplaceAll(value, "'", "''") + ")"
}
