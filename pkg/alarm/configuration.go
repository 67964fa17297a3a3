package alarm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

// How long cleared records can be kept, in days.
const (
	minRetentionDays = 1
	maxRetentionDays = 3650
)

// maxExtensionBytes is how large the extensions of the configuration may become.
const maxExtensionBytes = 16 << 10

func (a *API) getConfiguration(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.configuration.Query(r)
		if err != nil {
			return err
		}
		c, err := a.parts.Records.Configuration(r.Context())
		if err != nil {
			return err
		}
		return q.Singleton(w, c)
	}
}

// putConfiguration replaces the configuration.
func (a *API) putConfiguration(v *version) rest.Handler {
	return a.changeConfiguration(v, func(c *Configuration, body map[string]json.RawMessage) error {
		days, there := body["retentionPeriod"]
		if !there {
			return fmt.Errorf("retentionPeriod is missing: %w", fault.Invalid)
		}
		c.Extensions = nil
		if extensions, there := body["extensions"]; there {
			if err := json.Unmarshal(extensions, &c.Extensions); err != nil {
				return errExtensions
			}
		}
		return c.setRetention(days)
	})
}

// patchConfiguration merges a patch into the configuration.
//
// Source: RFC 7396.
func (a *API) patchConfiguration(v *version) rest.Handler {
	return a.changeConfiguration(v, func(c *Configuration, body map[string]json.RawMessage) error {
		if patch, there := body["extensions"]; there {
			merged, err := merge(c.Extensions, patch)
			if err != nil {
				return err
			}
			c.Extensions = merged
		}
		if days, there := body["retentionPeriod"]; there {
			return c.setRetention(days)
		}
		return nil
	})
}

var errExtensions = fmt.Errorf("extensions is not an object: %w", fault.Invalid)

func (c *Configuration) setRetention(text json.RawMessage) error {
	var days *int
	if json.Unmarshal(text, &days) != nil || days == nil || *days < minRetentionDays || *days > maxRetentionDays {
		return fmt.Errorf("retentionPeriod is not a whole number of days from %d to %d: %w", minRetentionDays, maxRetentionDays, fault.Invalid)
	}
	c.RetentionDays = *days
	return nil
}

// changeConfiguration answers a request that changes the configuration. When that lowers
// the time for which cleared records are kept, those that are too old now go at once.
func (a *API) changeConfiguration(v *version, change func(*Configuration, map[string]json.RawMessage) error) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := readObject(w, r)
		if err != nil {
			return err
		}
		if err := only(body, "retentionPeriod", "extensions"); err != nil {
			return fmt.Errorf("alarm service configuration: %w", err)
		}
		var before int
		c, err := a.parts.Records.SetConfiguration(r.Context(), func(c *Configuration) error {
			before = c.RetentionDays
			if err := rest.CheckMatch(r, v.configuration.Encoded(*c).Digest); err != nil {
				return fmt.Errorf("alarm service configuration: %w", err)
			}
			if err := change(c, body); err != nil {
				return fmt.Errorf("alarm service configuration: %w", err)
			}
			if size := extensionBytes(c.Extensions); size > maxExtensionBytes {
				return fmt.Errorf("alarm service configuration: extensions of %d bytes, more than %d: %w", size, maxExtensionBytes, fault.Invalid)
			}
			return nil
		})
		if err != nil {
			return err
		}
		slog.InfoContext(r.Context(), "alarm service configuration changed", "retentionPeriod", c.RetentionDays, "before", before, "user", user(r))
		if c.RetentionDays < before && a.parts.RetentionLowered != nil {
			a.parts.RetentionLowered()
		}
		e := v.configuration.Encoded(c)
		rest.SetETag(w, e.Digest)
		return rest.WriteEncoded(w, http.StatusOK, e.Whole)
	}
}

func extensionBytes(extensions map[string]json.RawMessage) int {
	size := 0
	for name, value := range extensions {
		size += len(name) + len(value)
	}
	return size
}

// merge applies a merge patch to the members of an object. null removes all of them.
func merge(object map[string]json.RawMessage, patch json.RawMessage) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(patch, &members); err != nil {
		return nil, errExtensions
	}
	if members == nil {
		return nil, nil
	}
	merged := make(map[string]json.RawMessage, len(object)+len(members))
	for name, value := range object {
		merged[name] = value
	}
	for name, value := range members {
		switch {
		case string(value) == "null":
			delete(merged, name)
		case value[0] != '{':
			merged[name] = value
		default:
			var inner map[string]json.RawMessage
			if json.Unmarshal(merged[name], &inner) != nil {
				inner = nil // something else stood there: it is replaced
			}
			inner, err := merge(inner, value)
			if err != nil {
				return nil, err
			}
			text, err := json.Marshal(inner)
			if err != nil {
				return nil, err
			}
			merged[name] = text
		}
	}
	return merged, nil
}

// readObject reads a body that must be an object, in which any name may be.
func readObject(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	var body map[string]json.RawMessage
	if err := rest.ReadJSON(w, r, &body); err != nil {
		return nil, err
	}
	if body == nil {
		return nil, fmt.Errorf("request body: null, want an object: %w", fault.Invalid)
	}
	for name, value := range body {
		var compact bytes.Buffer
		if json.Compact(&compact, value) == nil {
			body[name] = compact.Bytes()
		}
	}
	return body, nil
}

// only refuses a body that names anything else: it asks for what cannot be changed.
func only(body map[string]json.RawMessage, names ...string) error {
next:
	for name := range body {
		for _, allowed := range names {
			if name == allowed {
				continue next
			}
		}
		return fmt.Errorf("attribute %q cannot be changed: %w", clip(name), fault.Invalid)
	}
	return nil
}

// optionalText reads a text that may be null.
func optionalText(name string, value json.RawMessage) (*string, error) {
	if value == nil {
		return nil, nil
	}
	var text *string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, fmt.Errorf("%s is not a text: %w", name, fault.Invalid)
	}
	return text, nil
}
