// Package oidcprovider runs a real, certified OpenID provider for tests and the demo: npm's
// oidc-provider by hack/oidc/provider.mjs, over TLS, on a port of 127.0.0.1 of its own. Its
// clients get RFC 9068 access tokens by client credentials, with a secret or a certificate
// (RFC 8705). Its private keys are the caller's to use, so that a test can sign what no
// provider would.
//
// A provider in Go, in this process, was the alternative: it would share our libraries, and
// so our mistakes.
package oidcprovider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/o2ims/o2ims/test/port"
)

// Options say what to run. Only Dir is needed.
type Options struct {
	Dir string // for keys, certificates, configuration and log; made where it is missing

	Listen    string        // host:port in 127.0.0.0/8; empty: 127.0.0.1 and any free port
	Audience  string        // claim aud of all tokens; empty: o2ims
	Algorithm string        // that signs tokens of clients that name none; empty: RS256
	Lifetime  time.Duration // of tokens, whole seconds; 0: ten minutes
	Scopes    []string      // that clients may have; nil: those of its clients
	Clients   []Client
	ClientCAs []byte // PEM; sign certificates of clients, too, beside ClientCA

	Progress io.Writer // a line per step that takes time; nil drops them
}

// How a client proves who it is.
const (
	Basic = "basic" // client_secret_basic
	Body  = "body"  // client_secret_post
	TLS   = "tls"   // tls_client_auth: a certificate of ClientCA whose DNS name is the client's ID
)

// Client may get tokens.
type Client struct {
	ID        string
	Secret    string         // for Basic and Body
	Auth      string         // empty: Basic
	Bound     bool           // its tokens are bound to the certificate that it asks with, claim cnf
	Scopes    []string       // that it may ask for; a token has only those that were asked for
	Claims    map[string]any // of its tokens, beside the provider's own
	Algorithm string         // empty: the provider's
	Lifetime  time.Duration  // of its tokens; 0: the provider's
}

// Provider is a running OpenID provider. Its methods may be called concurrently.
type Provider struct {
	Issuer string // https://127.0.0.1:port, exactly as claim iss has it

	options  Options
	node     string
	modules  string
	script   string
	clientCA *authority

	mu      sync.Mutex // of what follows, and of changes to the configuration
	clients []Client
	trust   *authority   // of the server's certificate
	next    *authority   // of the one after it
	keys    generation   // that sign
	old     []generation // that are published still
	number  int          // of the configuration in force
	process *process
}

// Start installs what is missing, runs a provider and returns when it serves. The caller
// stops it; it also ends with this process.
func Start(ctx context.Context, o Options) (*Provider, error) {
	p := &Provider{options: o.withDefaults(), clients: slices.Clone(o.Clients)}
	if err := p.start(ctx); err != nil {
		return nil, fmt.Errorf("OpenID provider: %w", err)
	}
	return p, nil
}

func (o Options) withDefaults() Options {
	if o.Audience == "" {
		o.Audience = "o2ims"
	}
	if o.Algorithm == "" {
		o.Algorithm = string(jose.RS256)
	}
	if o.Lifetime == 0 {
		o.Lifetime = 10 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

func (p *Provider) start(ctx context.Context) (err error) {
	if err := os.MkdirAll(p.options.Dir, 0o700); err != nil {
		return err
	}
	if p.options.Listen == "" {
		port, err := port.Keep()
		if err != nil {
			return err
		}
		p.options.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if p.node, p.modules, p.script, err = install(ctx, p.options.Progress); err != nil {
		return err
	}
	if p.trust, err = newAuthority(serverAuthority); err != nil {
		return err
	}
	if p.next, err = newAuthority(serverAuthority); err != nil {
		return err
	}
	if p.clientCA, err = newAuthority("clients of the OpenID provider"); err != nil {
		return err
	}
	if err := p.writeCertificates(); err != nil {
		return err
	}
	if p.keys, err = newGeneration(); err != nil {
		return err
	}
	return p.Restart(ctx)
}

// Restart runs the provider again after Stop or Kill, at the same address and with the same
// keys and clients, and returns when it serves.
func (p *Provider) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.writeConfiguration(); err != nil {
		return err
	}
	var err error
	if p.process, err = spawn(p.node, []string{p.script, p.modules, p.file("configuration.json")}, p.options.Dir); err != nil {
		return err
	}
	address, err := p.process.wait(ctx, p.number)
	if err != nil {
		p.process.Kill()
		return err
	}
	if p.Issuer == "" {
		p.options.Listen = address // the next time, too
		p.Issuer = "https://" + address
	}
	return nil
}

// change applies a change of the configuration, and returns when it is in force. A change
// that the provider cannot use ends it.
func (p *Provider) change(ctx context.Context, change func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	if err := p.writeConfiguration(); err != nil {
		return err
	}
	if err := p.process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("%w\n%s", err, p.process.LogTail())
	}
	_, err := p.process.wait(ctx, p.number)
	return err
}

// RotateKeys makes new keys and signs with them from now on. The ones before stay published
// until RetireKeys.
func (p *Provider) RotateKeys(ctx context.Context) error {
	return p.change(ctx, func() error {
		fresh, err := newGeneration()
		if err != nil {
			return err
		}
		p.old = append(p.old, p.keys)
		p.keys = fresh
		return nil
	})
}

// RetireKeys publishes no keys any more but those that sign.
func (p *Provider) RetireKeys(ctx context.Context) error {
	return p.change(ctx, func() error { p.old = nil; return nil })
}

// SetSecret gives a client another secret; the one before is worth nothing from then on.
func (p *Provider) SetSecret(ctx context.Context, id, secret string) error {
	return p.change(ctx, func() error {
		c, err := p.client(id)
		if err != nil {
			return err
		}
		c.Secret = secret
		return nil
	})
}

// SetClients replaces all clients.
func (p *Provider) SetClients(ctx context.Context, clients ...Client) error {
	return p.change(ctx, func() error { p.clients = slices.Clone(clients); return nil })
}

// RotateCertificate gives the server another certificate, of another authority: what was
// NextCA is CA from then on. Connections that are open stay.
func (p *Provider) RotateCertificate(ctx context.Context) error {
	return p.change(ctx, func() error {
		fresh, err := newAuthority(serverAuthority)
		if err != nil {
			return err
		}
		p.trust, p.next = p.next, fresh
		return p.writeCertificates()
	})
}

// client finds a client. The caller holds the lock.
func (p *Provider) client(id string) (*Client, error) {
	for i := range p.clients {
		if p.clients[i].ID == id {
			return &p.clients[i], nil
		}
	}
	return nil, fmt.Errorf("client %q: %w", id, ErrNoSuchClient)
}

// ErrNoSuchClient means that the provider was not told of a client.
var ErrNoSuchClient = errors.New("no such client")

// Key is the private key that signs tokens with an algorithm such as RS256, with its kid.
func (p *Provider) Key(algorithm string) (jose.JSONWebKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys.forAlgorithm(algorithm)
}

// CA is the PEM of whoever signed the server's certificate.
func (p *Provider) CA() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.trust.pem)
}

// NextCA is the PEM of whoever will sign the server's certificate after RotateCertificate.
func (p *Provider) NextCA() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.next.pem)
}

// ClientCA is the PEM of whoever signs clients' certificates.
func (p *Provider) ClientCA() []byte { return bytes.Clone(p.clientCA.pem) }

// Stop ends the provider in order, Kill as a power cut would. Both are safe to call twice.
func (p *Provider) Stop() { p.running().Stop(stopTimeout) }

// Kill ends the provider at once.
func (p *Provider) Kill() { p.running().Kill() }

// PID is the process of the provider.
func (p *Provider) PID() int { return p.running().PID() }

// Log is the end of what the provider wrote.
func (p *Provider) Log() string { return p.running().LogTail() }

func (p *Provider) running() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}

func (p *Provider) file(name string) string { return filepath.Join(p.options.Dir, name) }
