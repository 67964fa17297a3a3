package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
)

func TestForwarded(t *testing.T) {
	ca := authtest.NewCA(t, "clients", newClock().Now)
	certificate := ca.Client("smo").Leaf
	der := certificate.Raw
	b64 := base64.StdEncoding.EncodeToString(der)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	escaped := strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	header := func(pairs ...string) http.Header {
		h := make(http.Header)
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	const verify, shown, cert, forwarded = headerVerify, headerDER, headerClientCert, headerXFCC
	for _, tc := range []struct {
		name, scheme string
		header       http.Header
		want         []byte
		why          string
	}{
		{"HAProxy", HeaderHAProxy, authtest.HAProxy(certificate), der, ""},
		{"HAProxy, quoted", HeaderHAProxy, header(verify, "0", shown, `"`+b64+`"`), der, ""},
		{"HAProxy, nothing set", HeaderHAProxy, nil, nil, ""},
		{"HAProxy, no certificate", HeaderHAProxy, header(verify, "0", shown, ""), nil, ""},
		{"HAProxy, no certificate, quoted", HeaderHAProxy, header(verify, "0", shown, `""`), nil, ""},
		{"HAProxy, no certificate header", HeaderHAProxy, header(verify, "0"), nil, ""},
		{"HAProxy, not verified", HeaderHAProxy, header(verify, "10", shown, b64), nil, "did not verify"},
		{"HAProxy, not verified and withheld", HeaderHAProxy, header(verify, "2", shown, ""), nil, "did not verify"},
		{"HAProxy, result missing", HeaderHAProxy, header(shown, b64), nil, "did not verify"},
		{"HAProxy, result empty", HeaderHAProxy, header(verify, "", shown, b64), nil, "did not verify"},
		{"HAProxy, nginx's result", HeaderHAProxy, header(verify, "SUCCESS", shown, b64), nil, "did not verify"},
		{"HAProxy, two results", HeaderHAProxy, header(verify, "0", verify, "0", shown, b64), nil, "did not verify"},
		{"HAProxy, two certificates", HeaderHAProxy, header(verify, "0", shown, b64, shown, b64), nil, "2 values"},
		{"HAProxy, two in one", HeaderHAProxy, header(verify, "0", shown, b64+","+b64), nil, "not base64"},
		{"HAProxy, base64url", HeaderHAProxy, header(verify, "0", shown, base64.RawURLEncoding.EncodeToString([]byte{0xfb, 0xff})), nil, "not base64"},
		{"HAProxy, open quote", HeaderHAProxy, header(verify, "0", shown, `"`+b64), nil, "quote"},
		{"HAProxy, giant", HeaderHAProxy, header(verify, "0", shown, strings.Repeat("A", maxCertificateBytes+4)), nil, "bytes"},

		{"RFC 9440", HeaderRFC9440, authtest.RFC9440(certificate), der, ""},
		{"RFC 9440, none", HeaderRFC9440, nil, nil, ""},
		{"RFC 9440, empty", HeaderRFC9440, header(cert, ""), nil, "between colons"},
		{"RFC 9440, empty bytes", HeaderRFC9440, header(cert, "::"), nil, "empty"},
		{"RFC 9440, one colon", HeaderRFC9440, header(cert, ":"), nil, "between colons"},
		{"RFC 9440, no colons", HeaderRFC9440, header(cert, b64), nil, "between colons"},
		{"RFC 9440, twice", HeaderRFC9440, header(cert, ":"+b64+":", cert, ":"+b64+":"), nil, "2 values"},
		{"RFC 9440, list", HeaderRFC9440, header(cert, ":"+b64+":, :"+b64+":"), nil, "not base64"},
		{"RFC 9440, PEM", HeaderRFC9440, header(cert, escaped), nil, "between colons"},

		{"XFCC", HeaderXFCC, authtest.XFCC(certificate), der, ""},
		{"XFCC, not quoted", HeaderXFCC, header(forwarded, "Hash=abc;Cert="+escaped), der, ""},
		{"XFCC, key in other case", HeaderXFCC, header(forwarded, `hash=abc; cert="`+escaped+`"`), der, ""},
		{"XFCC, plus kept", HeaderXFCC, header(forwarded, `Cert="`+strings.NewReplacer("%2B", "+", "%2F", "/", "%3D", "=").Replace(escaped)+`"`), der, ""},
		{"XFCC, separators in quotes", HeaderXFCC, header(forwarded, `Subject="CN=a,O=b;Cert=\"x\"";Cert="`+escaped+`"`), der, ""},
		{"XFCC, none", HeaderXFCC, nil, nil, ""},
		{"XFCC, empty", HeaderXFCC, header(forwarded, ""), nil, "no Cert"},
		{"XFCC, only a hash", HeaderXFCC, header(forwarded, "Hash=abc;URI=spiffe://a"), nil, "no Cert"},
		{"XFCC, empty certificate", HeaderXFCC, header(forwarded, `Cert=""`), nil, "exactly one"},
		{"XFCC, forged element before", HeaderXFCC, header(forwarded, "Cert="+escaped+",Cert="+escaped), nil, "2 elements"},
		{"XFCC, two headers", HeaderXFCC, header(forwarded, "Cert="+escaped, forwarded, "Cert="+escaped), nil, "2 values"},
		{"XFCC, two certificates", HeaderXFCC, header(forwarded, "Cert="+escaped+";Cert="+escaped), nil, "two certificates"},
		{"XFCC, two in one", HeaderXFCC, header(forwarded, "Cert="+escaped+escaped), nil, "exactly one"},
		{"XFCC, open quote", HeaderXFCC, header(forwarded, `Cert="`+escaped), nil, "quote"},
		{"XFCC, not percent-encoded", HeaderXFCC, header(forwarded, "Cert=%zz"), nil, "percent"},
		{"XFCC, a private key", HeaderXFCC, header(forwarded, "Cert="+strings.ReplaceAll(escaped, "CERTIFICATE", "PRIVATE%20KEY")), nil, "exactly one"},
		{"no scheme", "", authtest.XFCC(certificate), nil, "no header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := TrustedProxies{Header: tc.scheme}.forwarded(tc.header)
			if (err == nil) != (tc.why == "") || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Fatalf("error = %v, want %q", err, tc.why)
			}
			if !bytes.Equal(got, tc.want) {
				t.Errorf("got %d bytes, want %d", len(got), len(tc.want))
			}
		})
	}
}

func TestDropForwarded(t *testing.T) {
	h := http.Header{
		"X-Ssl-Client-Verify": {"0"}, "X-Ssl-Client-Der": {"x"}, "X-Ssl-Client-Anything": {"x"}, "x-ssl-client-der": {"x"},
		"Client-Cert": {"x"}, "CLIENT-CERT": {"x"}, "Client-Cert-Chain": {"x"}, "X-Forwarded-Client-Cert": {"x"}, "x-forwarded-client-cert": {"x"},
		"Authorization": {"kept"}, "X-Forwarded-For": {"kept"},
	}
	dropForwarded(h)
	if len(h) != 2 || h.Get("Authorization") != "kept" || h.Get("X-Forwarded-For") != "kept" {
		t.Errorf("left: %v", h)
	}
}

// FuzzXFCC checks that a certificate is taken only from a header that spells just one.
func FuzzXFCC(f *testing.F) {
	f.Add(`By=a;Hash=b;Cert="-----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----%0A";URI=c`)
	f.Add(`Cert=a,Cert=b`)
	f.Add(`Subject="\"";Cert=`)
	f.Fuzz(func(t *testing.T, value string) {
		der, err := xfcc(value)
		if (len(der) == 0) != (err != nil) {
			t.Fatalf("xfcc(%q) = %x, %v", value, der, err)
		}
		if err != nil {
			return
		}
		text := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		again, err := xfcc("Cert=" + strings.ReplaceAll(text, "+", "%20"))
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x written and read again: %x, %v", der, again, err)
		}
	})
}

// FuzzClientCert checks that a byte sequence survives reading and writing.
func FuzzClientCert(f *testing.F) {
	f.Add(":AAAA:")
	f.Add("::")
	f.Add(" :AA==: ")
	f.Fuzz(func(t *testing.T, value string) {
		der, err := clientCert(value)
		if err != nil {
			return
		}
		if got := ":" + base64.StdEncoding.EncodeToString(der) + ":"; got != strings.Trim(value, " ") || len(der) == 0 {
			t.Errorf("clientCert(%q) was read as %q", value, got)
		}
	})
}

// FuzzHAProxy checks that nothing but a verification that succeeded yields a certificate.
func FuzzHAProxy(f *testing.F) {
	f.Add("0", "AAAA")
	f.Add("0", `"AAAA"`)
	f.Add("00", "AAAA")
	f.Fuzz(func(t *testing.T, verify, der string) {
		got, err := haproxy([]string{verify}, []string{der})
		if len(got) > 0 && (verify != "0" || err != nil || base64.StdEncoding.EncodeToString(got) != strings.Trim(der, `"`)) {
			t.Errorf("haproxy(%q, %q) = %x, %v", verify, der, got, err)
		}
	})
}
