package server

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRotationUnderLoad changes the server's certificate and the CAs of clients again and
// again while clients connect, each anew for every request. None may fail.
func TestRotationUnderLoad(t *testing.T) {
	s := startSite(t, nil)
	cas := []*authority{newCA(t), newCA(t)}
	s.clients.Store(poolOf(cas...))
	shown := []*tls.Certificate{cas[0].issue("client-0", later()), cas[1].issue("client-1", later())}
	var mu sync.RWMutex // the clients' certificate changes between the CAs' changes
	current := 0

	var served, failed atomic.Int64
	seen := sync.Map{} // serial numbers of the server's certificates
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.RLock()
				want, certificate := fmt.Sprintf("client-%d", current), shown[current]
				client := s.client(certificate, nil)
				got, answer, err := s.who(client)
				mu.RUnlock()
				client.CloseIdleConnections()
				served.Add(1)
				if err != nil || got != want {
					failed.Add(1)
					t.Errorf("request %d: seen as %q, %v, want %q", served.Load(), got, err, want)
					return
				}
				seen.Store(answer.TLS.PeerCertificates[0].SerialNumber.String(), true)
			}
		})
	}
	const rounds = 6
	for round := range rounds {
		s.ca.write(s.certFile, s.keyFile)
		waitFor(t, "the new certificate", func() bool {
			return failed.Load() > 0 || servedAs(t, s, s.certs.(*certificateFiles).certificate.Load())
		})
		// As an administrator changes CAs: both are trusted while clients move.
		next := (round + 1) % 2
		s.clients.Store(poolOf(cas...))
		mu.Lock()
		current = next
		mu.Unlock()
		s.clients.Store(poolOf(cas[next]))
		target := served.Load() + 8
		waitFor(t, "requests", func() bool { return failed.Load() > 0 || served.Load() >= target })
		s.clients.Store(poolOf(cas...))
	}
	close(done)
	group.Wait()
	certificates := 0
	seen.Range(func(any, any) bool { certificates++; return true })
	if certificates < rounds {
		t.Errorf("clients saw %d certificates, want %d", certificates, rounds)
	}
	t.Logf("%d requests, %d server certificates, %d changes of the CAs", served.Load(), certificates, 3*rounds)
}

// servedAs tells whether a certificate is the one in the site's file.
func servedAs(t *testing.T, s *site, c *tls.Certificate) bool {
	t.Helper()
	text, err := os.ReadFile(s.certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return block != nil && bytes.Equal(block.Bytes, c.Certificate[0])
}
