package smo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

// registrationTimeout is how long the SMO may take to answer a registration.
const registrationTimeout = 30 * time.Second

// Registration is the notification that this O-Cloud is available: who it is, and where it
// can be reached. It is sent as JSON with the attributes globalCloudId, oCloudId and IMS_EP.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, table 3.6.5.1.2-1 (AvailableNotification).
type Registration struct {
	URL           string `json:"-"` // of the SMO's registration endpoint
	GlobalCloudID string `json:"globalCloudId"`
	OCloudID      string `json:"oCloudId"`
	IMSEndpoint   string `json:"IMS_EP"` // https://host[:port] of our APIs
}

// Digest changes when anything does that is sent, or where it is sent to. It is 64
// hexadecimal digits.
func (r Registration) Digest() string {
	text, _ := json.Marshal([]string{r.URL, r.GlobalCloudID, r.OCloudID, r.IMSEndpoint}) // strings can be encoded
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Register tells the SMO about this O-Cloud by a POST. Any 2xx is success; registering again
// is for the SMO to understand as an update. The status is 0 when there was no answer. An
// error names the host, and the status where there was one, never what the answer said; it
// wraps fault.Upstream, and fault.Invalid when the URL or its address is not allowed, and
// ErrToken when it is about our token. fault.RetryAfter says how long the SMO, or the token
// endpoint, wants us to wait, if it does.
func (c *Client) Register(ctx context.Context, r Registration) (status int, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	return c.announce(ctx, http.MethodPost, r.URL, body, "registration")
}

// Deregister takes a registration back. The standard has no such thing, so this is ours: a
// DELETE, without a body since those of DELETE are lost on the way, of what the POST
// created, {URL}/{oCloudId}; a query of the URL stays. Any 2xx is success, and so are 404
// and 410: there is nothing left to take back. Otherwise it is like Register.
//
// Source: RFC 9110, 9.3.5.
func (c *Client) Deregister(ctx context.Context, r Registration) (status int, err error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return 0, fmt.Errorf("deregistration: not a URL: %w", fault.Invalid)
	}
	return c.announce(ctx, http.MethodDelete, u.JoinPath(url.PathEscape(r.OCloudID)).String(), nil, "deregistration", http.StatusNotFound, http.StatusGone)
}

func (c *Client) announce(ctx context.Context, method, target string, body []byte, what string, success ...int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%s: not a URL: %w", what, fault.Invalid)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, upstream(err))
	}
	response.Body.Close() // what it says is of no use, and could be anything
	if response.StatusCode/100 != 2 && !slices.Contains(success, response.StatusCode) {
		err := fmt.Errorf("%s: %s answered %d: %w", what, request.URL.Host, response.StatusCode, fault.Upstream)
		if wish := RetryAfter(response, c.clock.Now(), longestWish); wish > 0 {
			err = fault.WithRetryAfter(err, wish)
		}
		return response.StatusCode, err
	}
	return response.StatusCode, nil
}

// upstream returns an error of the kind that says that it is another system's, once.
func upstream(err error) error {
	if errors.Is(err, fault.Upstream) {
		return err
	}
	return fmt.Errorf("%w: %w", err, fault.Upstream)
}
