package proxies

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/oidcprovider"
)

// world is everything real around the proxies: an apiserver and an OpenID provider.
type world struct {
	env      *harness.Env
	provider *oidcprovider.Provider
	log      *hub.Log

	authority   *authtest.CA
	proxiesCAs  []byte // that the proxies are told of
	managersCAs []byte // that the manager is told of
	allCAs      []byte // that the provider is told of, which binds tokens to any of their certificates

	people people
	tokens tokens
}

// people hold certificates.
type people struct {
	ann, bob tls.Certificate
	carl     tls.Certificate // of an intermediate CA that the manager knows
	dora     tls.Certificate // of one that it does not
	grand    tls.Certificate // of many names
	late     tls.Certificate // expired
	server   tls.Certificate // for servers alone
	mallory  tls.Certificate // of another CA, with ann's name
}

// tokens are the provider's, all for o2ims-reader.
type tokens struct {
	ann, bob, carl, dora, grand, mallory string // bound to their certificates
	unbound                              string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("a real kube-apiserver, a real OpenID provider and real proxies")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // a first run builds Kubernetes and OCM
	defer cancel()
	w := &world{log: hub.CaptureLog(t)}
	w.certify(t)
	var err error
	if w.env, err = harness.StartBare(ctx, harness.Options{Progress: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.env.Stop)
	if err := hub.Install(ctx, w.env.Hub); err != nil {
		t.Fatal(err)
	}
	w.issueTokens(ctx, t)
	return w
}

func (w *world) certify(t *testing.T) {
	t.Helper()
	w.authority = authtest.NewCA(t, "callers", time.Now)
	known, unknown := w.authority.Intermediate("callers, north"), w.authority.Intermediate("callers, south")
	w.proxiesCAs = w.authority.PEM()
	foreign := authtest.NewCA(t, "callers", time.Now)
	w.allCAs = slices.Concat(w.authority.PEM(), foreign.PEM())
	w.managersCAs = slices.Concat(w.authority.PEM(), known.PEM())
	chained := func(ca *authtest.CA, name string) tls.Certificate {
		c := ca.Client(name)
		c.Certificate = append(c.Certificate, ca.Certificate.Raw)
		return c
	}
	w.people = people{
		ann: w.authority.Client("ann"), bob: w.authority.Client("bob"),
		carl: chained(known, "carl"), dora: chained(unknown, "dora"),
		grand: w.authority.Client("grand", func(c *x509.Certificate) {
			for i := range grandNames {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("smo-%03d.region.operator.example.net", i))
			}
		}),
		late:    w.authority.Client("ann", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		server:  w.authority.Client("ann", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		mallory: foreign.Client("ann"),
	}
}

// grandNames make a certificate of nearly 8 kB, more than any in use.
const grandNames = 200

func (w *world) issueTokens(ctx context.Context, t *testing.T) {
	t.Helper()
	roles := []string{auth.RoleReader}
	claims := map[string]any{"roles": roles, "realm_access": map[string]any{"roles": roles}}
	var err error
	w.provider, err = oidcprovider.Start(ctx, oidcprovider.Options{Dir: t.TempDir(), Lifetime: time.Hour, Progress: os.Stderr, ClientCAs: w.allCAs, Clients: []oidcprovider.Client{
		{ID: "smo", Secret: "secret", Bound: true, Claims: claims}, {ID: "unbound", Secret: "secret", Claims: claims},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.provider.Stop)
	token := func(id string, certificate *tls.Certificate) string {
		text, err := w.provider.TokenWith(ctx, id, certificate)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bound := func(certificate tls.Certificate) string { return token("smo", &certificate) }
	p := w.people
	w.tokens = tokens{
		ann: bound(p.ann), bob: bound(p.bob), carl: bound(p.carl), dora: bound(p.dora), grand: bound(p.grand), mallory: bound(p.mallory),
		unbound: token("unbound", nil),
	}
}

// from dials from an address of this machine.
func from(address string) func(context.Context, string, string) (net.Conn, error) {
	return (&net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext
}

// connections are those that are open from an address to another, by the port that they come
// from.
//
// Source: proc_net_tcp(5).
func connections(t *testing.T, source string, target netip.AddrPort) []uint16 {
	t.Helper()
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const established = "01"
	var open []uint16
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != established || endpoint(fields[2]) != target {
			continue
		}
		if local := endpoint(fields[1]); local.Addr() == netip.MustParseAddr(source) {
			open = append(open, local.Port())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return open
}

// endpoint reads an address as the kernel writes it: the bytes of IPv4 from the last to the
// first, as this machine has them in memory.
func endpoint(text string) netip.AddrPort {
	address, port, _ := strings.Cut(text, ":")
	a, err := hex.DecodeString(address)
	p, err2 := hex.DecodeString(port)
	if err != nil || err2 != nil || len(a) != 4 || len(p) != 2 {
		return netip.AddrPort{}
	}
	var bytes [4]byte
	binary.NativeEndian.PutUint32(bytes[:], binary.BigEndian.Uint32(a))
	return netip.AddrPortFrom(netip.AddrFrom4(bytes), binary.BigEndian.Uint16(p))
}
