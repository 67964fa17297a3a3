package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// base is where the API lies.
const base = "/o2ims-infrastructureInventory"

// callTimeout is how long one answer may take.
const callTimeout = 30 * time.Second

// call is one request.
type call struct {
	method string // "" is GET
	path   string // with its query, escaped as it is to go out
	token  string // "" is the target's; noToken none
	header http.Header
	body   string

	oldHTTP bool // HTTP/1.1, for what HTTP/2 would not let through
}

// noToken is the token of a call without any.
const noToken = "-"

func (c call) String() string {
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	path := c.path
	if len(path) > 300 {
		path = path[:300] + "…"
	}
	return method + " " + path
}

// answer is what came back.
type answer struct {
	call   call
	status int
	header http.Header
	body   []byte // decoded

	encoding string // Content-Encoding
	wire     int    // bytes of the body as it came
}

// value returns the body as JSON, numbers as json.Number.
func (a answer) value() (any, error) {
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%s: %d: body is not JSON: %w", a.call, a.status, err)
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // Token returns io.EOF itself
		return nil, fmt.Errorf("%s: %d: something follows the JSON of the body", a.call, a.status)
	}
	return v, nil
}

// record is one JSON object.
type record = map[string]any

func (a answer) object() (record, error) {
	v, err := a.value()
	if err != nil {
		return nil, err
	}
	o, ok := v.(record)
	if !ok {
		return nil, fmt.Errorf("%s: %d: body is %s, want an object", a.call, a.status, kind(v))
	}
	return o, nil
}

func (a answer) list() ([]record, error) {
	v, err := a.value()
	if err != nil {
		return nil, err
	}
	array, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: %d: body is %s, want an array", a.call, a.status, kind(v))
	}
	list := make([]record, len(array))
	for i, element := range array {
		if list[i], ok = element.(record); !ok {
			return nil, fmt.Errorf("%s: element %d is %s, want an object", a.call, i, kind(element))
		}
	}
	return list, nil
}

// want returns an error unless the answer has this status.
func (a answer) want(status int) error {
	if a.status != status {
		return fmt.Errorf("%s: status %d, want %d: %s", a.call, a.status, status, excerpt(a.body))
	}
	return nil
}

func (a answer) mediaType() string {
	t, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return a.header.Get("Content-Type")
	}
	return t
}

// nextPage returns the path and query of the page after this one, or "".
func (a answer) nextPage() (string, error) {
	for _, line := range a.header.Values("Link") {
		for _, link := range strings.Split(line, ",") {
			target, parameters, found := strings.Cut(strings.TrimSpace(link), ">")
			if !found || !strings.HasPrefix(target, "<") {
				return "", fmt.Errorf("%s: header Link: %q is not <URL>; rel=…", a.call, link)
			}
			if !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
				continue
			}
			u, err := url.Parse(target[1:])
			if err != nil {
				return "", fmt.Errorf("%s: header Link: %w", a.call, err)
			}
			return u.RequestURI(), nil
		}
	}
	return "", nil
}

func excerpt(body []byte) string {
	const longest = 400
	if len(body) > longest {
		return string(body[:longest]) + "…"
	}
	return string(body)
}

// client talks to the target and shows each answer to its observers.
type client struct {
	target    Target
	modern    *http.Client
	old       *http.Client // HTTP/1.1 only
	observers []func(answer)
	answers   int
}

func newClient(t Target) *client {
	pool := (*x509.CertPool)(nil)
	if t.CA != nil {
		pool = x509.NewCertPool()
		pool.AppendCertsFromPEM(t.CA)
	}
	transport := func(next []string) *http.Client {
		tr := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: next},
			ForceAttemptHTTP2: len(next) == 0, DisableCompression: true, // what comes is what the server sent
		}
		if len(next) > 0 {
			tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		return &http.Client{Transport: tr, Timeout: callTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &client{target: t, modern: transport(nil), old: transport([]string{"http/1.1"})}
}

// raw sends the head of a request, to which it adds Host, and returns all bytes that come
// until the server closes the connection.
func (c *client) raw(ctx context.Context, head string) ([]byte, error) {
	u, err := url.Parse(c.target.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	var dial interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if u.Scheme == "https" {
		dial = &tls.Dialer{Config: c.old.Transport.(*http.Transport).TLSClientConfig}
	}
	connection, err := dial.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	defer connection.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(connection, head+"Host: "+u.Host+"\r\n\r\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(connection)
}

func (c *client) close() {
	c.modern.CloseIdleConnections()
	c.old.CloseIdleConnections()
}

// do makes one call.
func (c *client) do(ctx context.Context, k call) (answer, error) {
	if k.method == "" {
		k.method = http.MethodGet
	}
	var body io.Reader
	if k.body != "" {
		body = strings.NewReader(k.body)
	}
	r, err := http.NewRequestWithContext(ctx, k.method, c.target.URL+k.path, body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", k, err)
	}
	for name, values := range k.header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if token := k.token; token != noToken {
		if token == "" {
			token = c.target.Token
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	transport := c.modern
	if k.oldHTTP {
		transport = c.old
	}
	response, err := transport.Do(r)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", k, err)
	}
	defer response.Body.Close()
	a := answer{call: k, status: response.StatusCode, header: response.Header}
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return answer{}, fmt.Errorf("%s: body: %w", k, err)
	}
	a.encoding, a.wire = a.header.Get("Content-Encoding"), len(a.body)
	if a.encoding == "gzip" && len(a.body) > 0 {
		if a.body, err = decoded(a.body); err != nil {
			return answer{}, fmt.Errorf("%s: body said to be gzip: %w", k, err)
		}
	}
	c.answers++
	for _, observe := range c.observers {
		observe(a)
	}
	return a, nil
}
