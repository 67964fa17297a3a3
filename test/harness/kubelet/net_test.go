package kubelet

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// freePort is a port nobody listens on at the moment.
func freePort(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ask gets the view of a process that serves.
func ask(t *testing.T, address, port, folder string) view {
	t.Helper()
	resp, err := http.Get("http://" + net.JoinHostPort(address, port) + "/see?folder=" + url.QueryEscape(folder))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var v view
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
