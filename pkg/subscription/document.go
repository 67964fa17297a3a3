package subscription

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/o2ims/o2ims/pkg/store"
)

// View is an object as one major version of an API shows it.
type View struct {
	// Ref is the object's path from the root of the server, such as
	// /o2ims-infrastructureInventory/v2/resourcePools/0b6d….
	Ref string `json:"ref"`

	// State is what a GET of Ref answers. It must not hold credentials.
	State json.RawMessage `json:"state"`
}

// Document is an object in every major version that shows it, by version such as "v2".
type Document map[string]View

// Object is one object of a model.
type Object struct {
	Kind string // objectType, such as ResourceInfo
	ID   string // unique in its kind

	// Render returns the object's views. It is called later and from another goroutine, at
	// most once, so it must render what the object was when it was handed over; a nil
	// Render says that the object is gone.
	Render func() Document
}

// Source is a model whose objects are announced.
type Source interface {
	// Name is the name of the Service that the objects belong to.
	Name() string

	// Objects returns every object as it is now, those that others refer to first, and the
	// version of that state. It waits until the model is complete, because what it leaves
	// out is announced as deleted.
	Objects(ctx context.Context) (version uint64, objects iter.Seq[Object], err error)
}

// encode returns the document in the form in which it is stored, and its digest. Equal
// documents have equal forms: versions are sorted, states are kept byte by byte.
func (d Document) encode() ([]byte, store.Digest) {
	size := 2
	for version, view := range d {
		size += len(version) + len(view.Ref) + len(view.State) + 32
	}
	b := make([]byte, 0, size)
	b = append(b, '{')
	for i, version := range slices.Sorted(maps.Keys(d)) {
		if i > 0 {
			b = append(b, ',')
		}
		view := d[version]
		b = append(appendText(b, version), `:{"ref":`...)
		b = append(appendText(b, view.Ref), `,"state":`...)
		b = append(append(b, view.State...), '}')
	}
	b = append(b, '}')
	sum := sha256.Sum256(b)
	return b, store.Digest(sum[:])
}

func decode(document []byte) (Document, error) {
	if document == nil {
		return nil, nil
	}
	var d Document
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("announced document: %w", err)
	}
	return d, nil
}

// appendText appends s as JSON.
func appendText(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always can
		panic(err)
	}
	return append(b, quoted...)
}
