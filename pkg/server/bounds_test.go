package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/o2ims/o2ims/pkg/rest"
)

// dial makes a connection to the APIs.
func (s *site) dial(protocol string) net.Conn {
	s.ca.t.Helper()
	c, err := tls.Dial("tcp", s.APIAddress(), &tls.Config{RootCAs: poolOf(s.ca), MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}})
	if err != nil {
		s.ca.t.Fatal(err)
	}
	s.ca.t.Cleanup(func() { _ = c.Close() })
	return c
}

// startImpatientSite runs a server that waits for nobody, with a second API mounted.
func startImpatientSite(t *testing.T, change func(*timeouts)) *site {
	t.Helper()
	return startSiteWith(t, func(_ *Options, p *Parts) {
		p.Mounts = append(p.Mounts, Mount{Prefix: "/internal", MaxBodyBytes: 4 << 20, Routes: func(r *mux.Router) {
			r.Handle("/internal/v1/alerts", rest.Methods{http.MethodPost: func(w http.ResponseWriter, r *http.Request) error {
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(w, n)
				return err
			}})
		}})
	}, func(s *Server) { change(&s.times) })
}

// trickle sends text a byte at a time, for ever, until the server has enough of it, and
// returns what it answered.
func trickle(t *testing.T, c net.Conn, head string, endless string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil { // or the test fails
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(c)
		answer <- string(text)
	}()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case text := <-answer:
			return text
		case <-pace.C:
		}
		if _, err := c.Write([]byte{endless[i%len(endless)]}); err != nil {
			return <-answer
		}
	}
}

// TestSlowClientsAreCut plays clients that hold a connection by sending next to nothing.
func TestSlowClientsAreCut(t *testing.T) {
	for _, tc := range []struct {
		name, head, endless string
		times               func(*timeouts)
	}{
		{"a header that never ends", "GET " + prefix + "/v1/things HTTP/1.1\r\nHost: o2ims\r\n", "X-A: b\r\n",
			func(l *timeouts) { l.header = 100 * time.Millisecond }},
		{"a request line that never ends", "GET /", "x", func(l *timeouts) { l.header = 100 * time.Millisecond }},
		{"a body that never ends", "POST " + prefix + "/v1/things HTTP/1.1\r\nHost: o2ims\r\nAuthorization: Bearer admin\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n\"", "x",
			func(l *timeouts) { l.read = 200 * time.Millisecond }},
		{"a body for an API with a bound of its own", "POST /internal/v1/alerts HTTP/1.1\r\nHost: o2ims\r\nAuthorization: Bearer admin\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n",
			func(l *timeouts) { l.read = 200 * time.Millisecond }},
		{"a body of somebody unknown", "POST " + prefix + "/v1/things HTTP/1.1\r\nHost: o2ims\r\nContent-Length: 100000\r\n\r\n", "x",
			func(l *timeouts) { l.read = 200 * time.Millisecond }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startImpatientSite(t, tc.times)
			begun := time.Now()
			answer := trickle(t, s.dial("http/1.1"), tc.head, tc.endless)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it was suffered for %s", took)
			}
			if strings.Contains(answer, " 200 ") || strings.Contains(answer, " 201 ") {
				t.Errorf("it was served: %s", answer)
			}
		})
	}
	t.Run("a handshake that does not come", func(t *testing.T) {
		s := startImpatientSite(t, func(l *timeouts) { l.header = 100 * time.Millisecond })
		c, err := net.Dial("tcp", s.APIAddress())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("%v, want the connection closed", err)
		}
	})
	t.Run("an answer that nobody takes", func(t *testing.T) {
		s := startImpatientSite(t, func(l *timeouts) { l.write = 200 * time.Millisecond })
		c := s.dial("http/1.1")
		var requests bytes.Buffer
		for range 3000 { // of 14 KB each: more than the sockets hold
			fmt.Fprintf(&requests, "GET %s/v1/long HTTP/1.1\r\nHost: o2ims\r\nAuthorization: Bearer admin\r\n\r\n", prefix)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		var failed error
		for failed == nil { // the server stops reading, then it is gone
			_, failed = c.Write(requests.Bytes())
		}
		if nerr := net.Error(nil); errors.As(failed, &nerr) && nerr.Timeout() {
			t.Errorf("the connection is still open: %v", failed)
		}
	})
}

// TestSizesAreBoundedOnEveryMount: by HTTP/1.1 and HTTP/2 alike.
func TestSizesAreBoundedOnEveryMount(t *testing.T) {
	s := startImpatientSite(t, func(*timeouts) {})
	for _, h2 := range []bool{true, false} {
		client := s.client(nil, nil)
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
		for _, tc := range []struct {
			name, path string
			body       int
			header     int
			status     int // 0: the connection goes
		}{
			{"a body", prefix + "/v1/things", rest.MaxBodyBytes + 1, 0, 413},
			{"a body of another API", "/internal/v1/alerts", 4 << 20, 0, 200},
			{"a header", prefix + "/v1/things", 2, rest.MaxHeaderBytes + 1, 431},
			{"a header of another API", "/internal/v1/alerts", 2, rest.MaxHeaderBytes + 1, 431},
			{"a URI", prefix + "/v1/things?" + strings.Repeat("x", rest.MaxURIBytes), 2, 0, 414},
			{"a header beyond all", prefix + "/v1/things", 2, 2 * maxHeaderBytes, 0},
		} {
			r, err := http.NewRequest(http.MethodPost, "https://"+s.APIAddress()+tc.path, strings.NewReader(`"`+strings.Repeat("x", max(0, tc.body-2))+`"`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer admin")
			r.Header.Set("Content-Type", "application/json")
			if tc.header > 0 {
				r.Header.Set("X-Long", strings.Repeat("x", tc.header))
			}
			answer, err := client.Do(r)
			got := 0
			if err == nil {
				got = answer.StatusCode
				_ = answer.Body.Close()
			}
			if got != tc.status && !(tc.status == 0 && got == http.StatusRequestHeaderFieldsTooLarge) {
				t.Errorf("%s, HTTP/2 %t: %d, %v, want %d", tc.name, h2, got, err, tc.status)
			}
		}
	}
}

// TestStreamsAreBounded plays a client that begins requests and resets them at once: it must
// not have more running than it may, and is cut off when it goes on.
func TestStreamsAreBounded(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	defer free()
	s := startSiteWith(t, func(_ *Options, p *Parts) {
		p.Mounts = append(p.Mounts, Mount{Prefix: "/internal", Routes: func(r *mux.Router) {
			r.Handle("/internal/wait", rest.Methods{http.MethodGet: func(_ http.ResponseWriter, r *http.Request) error {
				if r.URL.RawQuery == "first" {
					return nil
				}
				for n := running.Add(1); ; {
					if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
						break
					}
				}
				<-release
				running.Add(-1)
				return nil
			}})
		}})
	}, nil)
	t.Cleanup(free) // before the site stops

	// Who asks is known before the attack: a request that is reset while the apiserver is
	// asked does not get as far as the handler.
	first, err := http.NewRequest(http.MethodGet, "https://"+s.APIAddress()+"/internal/wait?first", nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Header.Set("Authorization", "Bearer admin")
	answer, err := s.client(nil, nil).Do(first)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer, err)
	}
	_ = answer.Body.Close()
	c := s.dial("h2")
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(c, bufio.NewReader(c))
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan http2.ErrCode, 1)
	streams := make(chan uint32, 1)
	go func() {
		for {
			frame, err := framer.ReadFrame()
			switch f := frame.(type) {
			case *http2.GoAwayFrame:
				ended <- f.ErrCode
				return
			case *http2.SettingsFrame:
				if v, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
					streams <- v
				}
			}
			if err != nil {
				ended <- http2.ErrCodeNo
				return
			}
		}
	}()
	if got := <-streams; got != maxStreams {
		t.Errorf("%d streams are offered, want %d", got, maxStreams)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	var failed error
	sent := 0
	for id := uint32(1); failed == nil && sent < 100*maxStreams; id += 2 {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "o2ims"}, {":path", "/internal/wait"}, {"authorization", "Bearer admin"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		failed = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		if failed == nil {
			failed = framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		sent++
	}
	if code := <-ended; code != http2.ErrCodeEnhanceYourCalm && failed == nil {
		t.Errorf("after %d requests the connection ended with %s, want ENHANCE_YOUR_CALM", sent, code)
	}
	waitFor(t, "requests to run", func() bool { return running.Load() > 0 })
	if got := most.Load(); got > maxStreams {
		t.Errorf("%d of %d requests ran at once, want at most %d", got, sent, maxStreams)
	}
}

func TestTimeoutsHold(t *testing.T) {
	s := newServer(t, alwaysReady)
	for _, h := range []*http.Server{s.httpServer(s.Handler()), s.httpServer(s.healthHandler())} {
		if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.WriteTimeout <= 0 || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 || h.HTTP2.MaxConcurrentStreams <= 0 {
			t.Errorf("a server without a bound: %+v", h)
		}
	}
}
