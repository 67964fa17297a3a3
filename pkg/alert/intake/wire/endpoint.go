// Package wire reads what Prometheus and Alertmanager say: their HTTP APIs and their JSON,
// in bounded memory.
//
// The types of their own modules are not used. github.com/prometheus/alertmanager moves
// fifteen other modules of ours for two small structs, and its Go API breaks from release
// to release; its JSON does not.
package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	requestTimeout = 30 * time.Second
	maxTokenBytes  = 16 << 10
	idlePerHost    = 2
)

// Endpoint is one Prometheus or Alertmanager. It is safe for concurrent use.
type Endpoint struct {
	base      *url.URL
	tokenFile string
	caFile    string

	mu      sync.Mutex
	client  *http.Client
	caStamp string // of the CA file that client was made with
}

// NewEndpoint returns the endpoint at rawURL, http(s)://host[:port][/prefix]. The bearer
// token in tokenFile is shown to it over https only; caFile holds the PEM of those who may
// have signed its certificate. Both are read again when they change, and may be "" or
// name a file that is not there.
func NewEndpoint(rawURL, tokenFile, caFile string) (*Endpoint, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("URL %q: %v: %w", rawURL, errors.Unwrap(err), fault.Invalid)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("URL %q is not of the form http(s)://host[:port][/prefix]: %w", u.Redacted(), fault.Invalid)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &Endpoint{base: u, tokenFile: tokenFile, caFile: caFile}, nil
}

// String is where the endpoint is.
func (e *Endpoint) String() string { return e.base.String() }

// Answer is a good answer while it is being read.
type Answer struct {
	Body io.Reader

	// Date is when it was sent by the clock of who sent it; zero when that was not said.
	Date time.Time
}

// Get asks for a path below the endpoint's URL and lets read have the answer. It returns
// read's error; one that wraps fault.TooLarge when the body goes beyond limit bytes;
// fault.Upstream for any status but 200; fault.Unavailable when there was no answer.
func (e *Endpoint) Get(ctx context.Context, path string, query url.Values, limit int64, read func(Answer) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := *e.base
	target.Path += path
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	if err := e.authorize(request); err != nil {
		return err
	}
	client, err := e.httpClient()
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", err, fault.Unavailable)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // whatever there is of it
		return fmt.Errorf("GET %s%s: %s: %q: %w", e, path, response.Status, said, fault.Upstream)
	}
	body := &bounded{reader: response.Body, left: limit}
	date, _ := http.ParseTime(response.Header.Get("Date")) // zero when it is not there
	err = read(Answer{Body: body, Date: date})
	if body.err != nil {
		err = body.err
	}
	if err != nil {
		return fmt.Errorf("GET %s%s: %w", e, path, err)
	}
	return nil
}

// authorize shows our token, but not to everybody on the network.
func (e *Endpoint) authorize(r *http.Request) error {
	if e.tokenFile == "" || e.base.Scheme != "https" {
		return nil
	}
	token, err := os.ReadFile(e.tokenFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("token: %w: %w", err, fault.Unavailable)
	}
	if len(token) > maxTokenBytes {
		return fmt.Errorf("token in %s: %d bytes: %w", e.tokenFile, len(token), fault.TooLarge)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return nil
}

// httpClient is made anew when the CA file changes.
func (e *Endpoint) httpClient() (*http.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	stamp, roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	if e.client != nil && stamp == e.caStamp {
		return e.client, nil
	}
	if e.client != nil {
		e.client.CloseIdleConnections()
	}
	e.caStamp = stamp
	e.client = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxIdleConnsPerHost: idlePerHost,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		},
		// a token must not follow where an answer points
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e.client, nil
}

// roots reads the CA file unless it is the one that is in use. nil stands for the CAs of
// the system.
func (e *Endpoint) roots() (stamp string, roots *x509.CertPool, err error) {
	if e.caFile == "" {
		return "", nil, nil
	}
	info, err := os.Stat(e.caFile)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("CA: %w: %w", err, fault.Unavailable)
	}
	stamp = fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
	if e.client != nil && stamp == e.caStamp {
		return stamp, nil, nil
	}
	text, err := os.ReadFile(e.caFile)
	if err != nil {
		return "", nil, fmt.Errorf("CA: %w: %w", err, fault.Unavailable)
	}
	roots, err = x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return "", nil, fmt.Errorf("CA in %s: no certificate: %w", e.caFile, fault.Invalid)
	}
	return stamp, roots, nil
}

// bounded breaks off a body that is longer than we are ready to read, and remembers why
// reading ended.
type bounded struct {
	reader io.Reader
	left   int64
	err    error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.reader.Read(one[:]); n == 0 {
			return 0, b.seen(err)
		}
		b.err = fmt.Errorf("the answer is longer than we read: %w", fault.TooLarge)
		return 0, b.err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.reader.Read(p)
	b.left -= int64(n)
	return n, b.seen(err)
}

func (b *bounded) seen(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = fmt.Errorf("%w: %w", err, fault.Unavailable)
	}
	return err
}
