package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// PagingOptions are the settings of paging, one flag each unless said otherwise.
type PagingOptions struct {
	// Size is how many records a page holds at most.
	Size int

	// Decimal tells to accept a decimal number for a marker, meaning the page with that
	// number, as some clients send.
	Decimal bool

	// KeySecret is the name of the Secret with the key that replicas share for markers.
	KeySecret string

	// BaseURL is how clients reach us: https://host[:port]; empty: by the host they named.
	// Set by whoever puts the process together.
	BaseURL string
}

// AddFlags registers the settings with their defaults.
func (o *PagingOptions) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Size, "page-size", 10_000, "how many records one page of a list holds at most")
	f.BoolVar(&o.Decimal, "decimal-page-markers", true, "take a number as nextpage_opaque_marker for that page, counted from 1")
	f.StringVar(&o.KeySecret, "paging-secret", "o2ims-paging", "Secret with the key that replicas share for paging markers; made when there is none")
}

// maxPageSize is what a list may hold in memory while it is written.
const maxPageSize = 1_000_000

// Validate reports everything that is wrong with o.
func (o *PagingOptions) Validate() error {
	var faults []error
	if o.Size < 1 || o.Size > maxPageSize {
		faults = append(faults, fmt.Errorf("--page-size: %d is not between 1 and %d: %w", o.Size, maxPageSize, fault.Invalid))
	}
	if o.KeySecret == "" {
		faults = append(faults, fmt.Errorf("--paging-secret: is needed: %w", fault.Invalid))
	}
	return errors.Join(faults...)
}

// Pager cuts lists into pages. A page ends with a marker for the next one.
//
// A marker says after which record the next page begins, rather than how many were sent:
// so no record is skipped or sent twice because others came and went meanwhile. It is good
// for the list it was made for, that is for the same path, filter and selectors, on every
// replica, and nobody else can make one.
type Pager struct {
	options PagingOptions
	key     []byte
}

// MarkerKeyBytes is how long the key of a Pager should be.
const MarkerKeyBytes = sha256.Size

// NewPager returns a pager. All replicas must be given the same key.
func NewPager(o PagingOptions, key []byte) *Pager { return &Pager{o, slices.Clone(key)} }

const (
	markerVersion   = 1
	markerMACBytes  = 16
	maxMarkerBytes  = 1024
	maxDecimalBytes = 9
)

// place is where a page begins.
type place struct {
	after string // id of the last record before it
	page  int    // instead: number of the page, from 1; 0: after counts
}

// listOf names the list that a request is about: path, filter and selectors.
func listOf(r *http.Request, v url.Values) []byte {
	var b []byte
	add := func(s string) { b = append(strconv.AppendInt(b, int64(len(s)), 10), ":"+s...) }
	add(r.URL.Path)
	for _, param := range []string{paramFilter, paramAllFields, paramFields, paramExcludeFields, paramExcludeDefault} {
		values, has := v[param]
		if !has {
			continue
		}
		add(param)
		b = strconv.AppendInt(append(b, '='), int64(len(values)), 10)
		for _, value := range values {
			add(value)
		}
	}
	return b
}

func (p *Pager) mac(list []byte, id string) []byte {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte{markerVersion})
	h.Write(strconv.AppendInt(nil, int64(len(list)), 10))
	h.Write(list)
	h.Write([]byte(id))
	return h.Sum(nil)[:markerMACBytes]
}

// marker returns the marker of the page that begins after the record with this id.
func (p *Pager) marker(list []byte, id string) string {
	b := append([]byte{markerVersion}, id...)
	return base64.RawURLEncoding.EncodeToString(append(b, p.mac(list, id)...))
}

// place reads the marker of a request; none means the first page. The error wraps
// fault.Invalid and gives the byte offset, which is that of the whole marker once it is
// well formed.
func (p *Pager) place(list []byte, markers []string) (place, error) {
	invalid := func(offset int, why string) error {
		return fmt.Errorf("%s: offset %d: %s: %w", paramMarker, offset, why, fault.Invalid)
	}
	switch {
	case len(markers) == 0 || len(markers) == 1 && markers[0] == "":
		return place{}, nil
	case len(markers) > 1:
		return place{}, invalid(0, "it is there more than once")
	case len(markers[0]) > maxMarkerBytes:
		return place{}, invalid(maxMarkerBytes, "it is too long for a marker")
	}
	text := markers[0]
	if len(text) <= maxDecimalBytes && strings.Trim(text, "0123456789") == "" {
		page, err := strconv.Atoi(text)
		if err != nil || page == 0 || !p.options.Decimal {
			return place{}, invalid(0, "it is not a marker of ours")
		}
		return place{page: page}, nil
	}
	if i := strings.IndexAny(text, "\r\n"); i >= 0 { // which the decoder would pass over
		return place{}, invalid(i, "it is not a marker of ours")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		offset := 0
		if bad := base64.CorruptInputError(0); errors.As(err, &bad) {
			offset = int(bad)
		}
		return place{}, invalid(offset, "it is not a marker of ours")
	}
	if len(b) <= 1+markerMACBytes || b[0] != markerVersion {
		return place{}, invalid(0, "it is not a marker of ours")
	}
	id := string(b[1 : len(b)-markerMACBytes])
	if !hmac.Equal(p.mac(list, id), b[len(b)-markerMACBytes:]) {
		return place{}, invalid(0, "it is not a marker of this list with this filter and these selectors")
	}
	return place{after: id}, nil
}

// nextLink is the header Link to the page that begins after the record with this id.
//
// Source: RFC 8288.
func (p *Pager) nextLink(r *http.Request, v url.Values, list []byte, id string) string {
	base := p.options.BaseURL
	if base == "" {
		base = "https://" + r.Host
	}
	query := make(url.Values, len(v)+1)
	for name, values := range v {
		query[name] = values
	}
	query.Set(paramMarker, p.marker(list, id))
	return "<" + base + r.URL.EscapedPath() + "?" + query.Encode() + `>; rel="next"`
}
