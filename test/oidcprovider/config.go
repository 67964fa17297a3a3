package oidcprovider

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// resource is what tokens are asked for (RFC 8707) where a client names nothing else.
const resource = "urn:o2ims:api"

// configuration is what hack/oidc/provider.mjs reads. All fields are needed.
type configuration struct {
	Configuration   int                `json:"configuration"` // its number, repeated when it is in force
	Listen          string             `json:"listen"`
	CertificateFile string             `json:"certificateFile"`
	KeyFile         string             `json:"keyFile"`
	ClientCAFile    string             `json:"clientCAFile"`
	Resource        string             `json:"resource"`
	Audience        string             `json:"audience"`
	Algorithm       string             `json:"algorithm"`
	LifetimeSeconds int                `json:"lifetimeSeconds"`
	Scopes          []string           `json:"scopes"`
	Clients         []clientSettings   `json:"clients"`
	JWKS            jose.JSONWebKeySet `json:"jwks"` // private keys; the first that fits signs
}

type clientSettings struct {
	ID              string         `json:"id"`
	Secret          string         `json:"secret"`
	Auth            string         `json:"auth"`
	DNSName         string         `json:"dnsName"` // in the certificate, for auth tls
	Bound           bool           `json:"bound"`
	Scopes          []string       `json:"scopes"`
	Claims          map[string]any `json:"claims"`
	Algorithm       string         `json:"algorithm"`       // empty: the provider's
	LifetimeSeconds int            `json:"lifetimeSeconds"` // 0: the provider's
}

// writeConfiguration writes the next configuration. The caller holds the lock.
func (p *Provider) writeConfiguration() error {
	p.number++
	c := configuration{
		Configuration:   p.number,
		Listen:          p.options.Listen,
		CertificateFile: p.file("server.crt"),
		KeyFile:         p.file("server.key"),
		ClientCAFile:    p.file("client-ca.crt"),
		Resource:        resource,
		Audience:        p.options.Audience,
		Algorithm:       p.options.Algorithm,
		LifetimeSeconds: seconds(p.options.Lifetime),
		Scopes:          slices.Clone(p.options.Scopes),
		Clients:         []clientSettings{},
		JWKS:            p.published(),
	}
	for _, client := range p.clients {
		c.Clients = append(c.Clients, client.settings())
		if p.options.Scopes == nil {
			c.Scopes = append(c.Scopes, client.Scopes...)
		}
	}
	c.Scopes = slices.Compact(slices.Sorted(slices.Values(append(c.Scopes, "openid"))))
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// As a whole, or not: the provider may be reading the one before.
	fresh := p.file("configuration.json.new")
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, p.file("configuration.json"))
}

func (c Client) settings() clientSettings {
	return clientSettings{
		ID: c.ID, Secret: c.Secret, Auth: cmp.Or(c.Auth, Basic), DNSName: c.ID, Bound: c.Bound, Scopes: append([]string{}, c.Scopes...),
		Claims: c.Claims, Algorithm: c.Algorithm, LifetimeSeconds: seconds(c.Lifetime),
	}
}

func seconds(d time.Duration) int { return int(d / time.Second) }
