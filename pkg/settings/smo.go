package settings

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/fault"
)

// RegistrationURL is where the O-Cloud registers, empty when it does not.
func RegistrationURL(spec apiv1alpha1.InventorySpec) string {
	if spec.SMO == nil {
		return ""
	}
	return below(spec.SMO.URL, spec.SMO.RegistrationEndpoint)
}

// DeregistrationURL is where it says that it goes, empty when it does not.
func DeregistrationURL(spec apiv1alpha1.InventorySpec) string {
	if spec.SMO == nil {
		return ""
	}
	return below(spec.SMO.URL, spec.SMO.DeregistrationEndpoint)
}

func below(base, path string) string {
	if path == "" {
		return ""
	}
	return strings.TrimSuffix(base, "/") + path
}

// hostOf is the host:port of a URL: another port of the same host may be somebody else's, and
// must not be sent our tokens.
func hostOf(field, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", fmt.Errorf("%s is no URL with a host: %w", field, fault.Invalid)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
