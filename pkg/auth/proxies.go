package auth

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The headers in which proxies tell of a client's certificate.
const (
	headerVerify      = "X-SSL-Client-Verify"
	headerDER         = "X-SSL-Client-DER"
	headerClientCert  = "Client-Cert"
	headerClientChain = "Client-Cert-Chain"
	headerXFCC        = "X-Forwarded-Client-Cert"

	// prefixHAProxy begins further ones of HAProxy's, which tell of parts of the certificate.
	prefixHAProxy = "X-Ssl-Client-"
)

// maxCertificateBytes is longer than any client certificate in use, as its header spells it.
const maxCertificateBytes = 32 << 10

// trusts tells whether remote, the host:port of a connection, is a trusted proxy.
func (p TrustedProxies) trusts(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	return p.trustsAddress(peer.Addr())
}

func (p TrustedProxies) trustsAddress(address netip.Addr) bool {
	addr := address.Unmap().WithZone("")
	return slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// forwarded returns the certificate in DER that a trusted proxy tells of in h, nil when it
// says that the client showed none.
func (p TrustedProxies) forwarded(h http.Header) ([]byte, error) {
	switch p.Header {
	case HeaderHAProxy:
		return haproxy(h.Values(headerVerify), h.Values(headerDER))
	case HeaderRFC9440:
		return single(headerClientCert, h.Values(headerClientCert), clientCert)
	case HeaderXFCC:
		return single(headerXFCC, h.Values(headerXFCC), xfcc)
	}
	return nil, fmt.Errorf("no header %q is known", p.Header)
}

// dropForwarded removes every header about a client's certificate, so that nobody behind us
// takes a stranger's word.
func dropForwarded(h http.Header) {
	for name := range h {
		switch canonical := http.CanonicalHeaderKey(name); {
		case strings.HasPrefix(canonical, prefixHAProxy), canonical == headerClientCert, canonical == headerClientChain, canonical == headerXFCC:
			delete(h, name)
		}
	}
}

// single reads a header that occurs once or not at all. A second value would be the
// client's own, passed on beside the proxy's.
func single(name string, values []string, parse func(string) ([]byte, error)) ([]byte, error) {
	switch {
	case len(values) == 0:
		return nil, nil
	case len(values) > 1:
		return nil, fmt.Errorf("%s: %d values", name, len(values))
	case len(values[0]) > maxCertificateBytes:
		return nil, fmt.Errorf("%s: %d bytes", name, len(values[0]))
	}
	der, err := parse(values[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return der, nil
}

// haproxy reads what HAProxy tells: the result of its verification, 0 for success, and the
// certificate in base64. Where a certificate is optional, HAProxy sets both also for
// clients without one: the result is 0 then, and the certificate empty.
//
// Source: HAProxy configuration manual, ssl_c_verify and ssl_c_der; the template of
// OpenShift's router, which quotes the certificate.
func haproxy(verify, der []string) ([]byte, error) {
	if len(verify) == 0 && len(der) == 0 {
		return nil, nil
	}
	if len(verify) != 1 || verify[0] != "0" {
		return nil, fmt.Errorf("%s does not say 0, once: the proxy did not verify the certificate", headerVerify)
	}
	return single(headerDER, der, func(value string) ([]byte, error) {
		if quoted, ok := strings.CutPrefix(value, `"`); ok {
			value, ok = strings.CutSuffix(quoted, `"`)
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
		}
		if value == "" {
			return nil, nil
		}
		return standardBase64(value)
	})
}

// clientCert reads the header Client-Cert, a byte sequence.
//
// Source: RFC 9440, clause 2.2; RFC 8941, clause 3.3.5.
func clientCert(value string) ([]byte, error) {
	value = strings.Trim(value, " ")
	inner, begins := strings.CutPrefix(value, ":")
	inner, ends := strings.CutSuffix(inner, ":")
	if !begins || !ends {
		return nil, errors.New("no base64 between colons")
	}
	return standardBase64(inner)
}

func standardBase64(text string) ([]byte, error) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("empty, or not base64")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64")
	}
	return der, nil
}

// xfcc reads the header X-Forwarded-Client-Cert: elements between commas, one of each proxy
// that appended to it, and in each element pairs of key=value between semicolons, of which
// Cert holds the certificate as percent-encoded PEM.
//
// Several elements are refused. The last one is the trusted proxy's, but in a chain it tells
// of the proxy before it and not of the caller, and the others are whatever the client or
// another proxy made up. Envoy's SANITIZE_SET sends exactly one.
//
// Source: Envoy documentation, HTTP header manipulation, x-forwarded-client-cert.
func xfcc(value string) ([]byte, error) {
	elements, err := outsideQuotes(value, ',')
	if err != nil {
		return nil, err
	}
	if len(elements) != 1 {
		return nil, fmt.Errorf("%d elements: let the proxy set it rather than append to it", len(elements))
	}
	pairs, err := outsideQuotes(elements[0], ';')
	if err != nil {
		return nil, err
	}
	var certificate []byte
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "Cert") {
			continue
		}
		if certificate != nil {
			return nil, errors.New("two certificates in one element")
		}
		if certificate, err = percentPEM(value); err != nil {
			return nil, err
		}
	}
	if certificate == nil {
		return nil, errors.New("no Cert in it: let the proxy send the whole certificate")
	}
	return certificate, nil
}

// outsideQuotes splits text at a separator outside double quotes, in which a backslash
// escapes.
func outsideQuotes(text string, separator byte) ([]string, error) {
	var parts []string
	quoted, start := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts, start = append(parts, text[start:i]), i+1
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return append(parts, text[start:]), nil
}

// percentPEM reads one certificate in PEM, percent-encoded and perhaps quoted. A plus is
// base64's here, not a space.
func percentPEM(value string) ([]byte, error) {
	value = strings.TrimSpace(value)
	if len(value) > 1 && value[0] == '"' {
		value = strings.TrimSuffix(value[1:], `"`)
	}
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, errors.New("Cert is not percent-encoded")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Bytes) == 0 || len(block.Headers) > 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("Cert is not exactly one certificate in PEM")
	}
	return block.Bytes, nil
}
