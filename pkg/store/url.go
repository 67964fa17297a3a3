package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Embedded is the URL of a store in this process.
const Embedded = "embedded"

// target is where Redis is.
type target struct {
	embedded bool
	cluster  bool
	tls      bool
	addrs    []string // host:port; of Sentinels when master is set
	master   string   // the name that Sentinels know; empty: no Sentinels
	db       int

	username, password                 string
	sentinelUsername, sentinelPassword string
}

// parseURL reads a Redis URL of the forms that Options.URL lists. Its errors wrap
// fault.Invalid and never repeat the URL, which may hold a password.
func parseURL(text string) (target, error) {
	if text == Embedded {
		return target{embedded: true}, nil
	}
	scheme, rest, found := strings.Cut(text, "://")
	t := target{tls: strings.HasPrefix(scheme, "rediss")}
	kind := strings.TrimPrefix(strings.TrimPrefix(scheme, "rediss"), "redis")
	if !found || !strings.HasPrefix(scheme, "redis") || kind != "" && kind != "+sentinel" && kind != "+cluster" {
		return target{}, fmt.Errorf("want %s, or a scheme among redis, redis+sentinel, redis+cluster, each also with rediss: %w", Embedded, fault.Invalid)
	}
	authority, path, _ := strings.Cut(rest, "/")
	path, query, _ := strings.Cut(path, "?")
	if err := t.parseAuthority(authority); err != nil {
		return target{}, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return target{}, fmt.Errorf("the query is malformed: %w", fault.Invalid)
	}
	t.sentinelUsername, t.sentinelPassword = values.Get("sentinel_username"), values.Get("sentinel_password")

	switch kind {
	case "+cluster":
		t.cluster = true
		if path != "" {
			return target{}, fmt.Errorf("Redis Cluster has no databases: nothing may follow the hosts: %w", fault.Invalid)
		}
		return t, nil
	case "+sentinel":
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return target{}, fmt.Errorf("the name that Sentinels call the server is missing: redis+sentinel://host:port,…/name: %w", fault.Invalid)
		}
	default:
		if len(t.addrs) != 1 {
			return target{}, fmt.Errorf("%d hosts: several need redis+sentinel or redis+cluster: %w", len(t.addrs), fault.Invalid)
		}
	}
	if path != "" {
		if t.db, err = strconv.Atoi(path); err != nil || t.db < 0 {
			return target{}, fmt.Errorf("the database is not a number: %w", fault.Invalid)
		}
	}
	return t, nil
}

func (t *target) parseAuthority(authority string) error {
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		credentials := authority[:at]
		hosts = authority[at+1:]
		user, password, _ := strings.Cut(credentials, ":")
		var err1, err2 error
		t.username, err1 = url.PathUnescape(user)
		t.password, err2 = url.PathUnescape(password)
		if errors.Join(err1, err2) != nil {
			return fmt.Errorf("the credentials are not properly escaped: %w", fault.Invalid)
		}
	}
	defaultPort := "6379"
	for host := range strings.SplitSeq(hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
		}
		name, port, err := net.SplitHostPort(host)
		if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 1 || n > 65535 || name == "" {
			return fmt.Errorf("hosts are given as host:port, several with commas between: %w", fault.Invalid)
		}
		t.addrs = append(t.addrs, host)
	}
	return nil
}

// String leaves out the credentials.
func (t target) String() string {
	hosts := strings.Join(t.addrs, ",")
	switch {
	case t.embedded:
		return Embedded
	case t.master != "":
		return fmt.Sprintf("%s by Sentinels %s", t.master, hosts)
	default:
		return hosts
	}
}
