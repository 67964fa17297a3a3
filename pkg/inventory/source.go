package inventory

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/google/btree"
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/rest"
)

// The methods in this file are a snapshot's records as package rest wants them for lists.

func (s *Snapshot) typeSource() rest.Source[*ResourceType] {
	return inTree(s.types, (*ResourceType).id, func(id uuid.UUID) *ResourceType { return &ResourceType{ID: id} })
}

func (s *Snapshot) dictionarySource() rest.Source[*AlarmDictionary] {
	return inTree(s.dictionaries, (*AlarmDictionary).id, func(id uuid.UUID) *AlarmDictionary { return &AlarmDictionary{ID: id} })
}

func (s *Snapshot) poolSource() rest.Source[*ResourcePool] {
	return inTree(s.pools, (*ResourcePool).id, func(id uuid.UUID) *ResourcePool { return &ResourcePool{ID: id} })
}

func (s *Snapshot) managerSource(profile bool) rest.Source[managerRow] {
	records := inTree(s.managers, func(d *DeploymentManager) string { return d.ID.String() },
		func(id uuid.UUID) *DeploymentManager { return &DeploymentManager{ID: id} })
	return rest.Source[managerRow]{
		After: func(id string) iter.Seq[managerRow] {
			return func(yield func(managerRow) bool) {
				for d := range records.After(id) {
					if !yield(managerRow{d, profile}) {
						return
					}
				}
			}
		},
		Get: func(id string) (managerRow, bool) {
			d, found := records.Get(id)
			return managerRow{d, profile}, found
		},
		Len: records.Len,
	}
}

func (s *Snapshot) siteSource() rest.Source[*OCloudSite] {
	return inSlice(s.places.look().sites, (*OCloudSite).id)
}

func (s *Snapshot) locationSource() rest.Source[*Location] {
	return inSlice(s.places.look().locations, (*Location).id)
}

func (s *Snapshot) serverSource(pool uuid.UUID, c *counts) rest.Source[*Server] {
	all := inTree(s.servers, (*Server).id, func(id uuid.UUID) *Server { return &Server{PoolID: pool, ID: id} })
	return rest.Source[*Server]{
		After: func(id string) iter.Seq[*Server] {
			return func(yield func(*Server) bool) {
				for srv := range all.After(id) {
					if srv.PoolID != pool || !yield(srv) {
						return
					}
				}
			}
		},
		Get: all.Get,
		Len: func() int { return c.servers(s, pool) },
	}
}

// inTree are the records of a tree in which the one with an id is equal to probe(id).
func inTree[T comparable](tree *btree.BTreeG[T], id func(T) string, probe func(uuid.UUID) T) rest.Source[T] {
	return rest.Source[T]{
		After: func(after string) iter.Seq[T] {
			// Of an id that is none, as "", nothing is left to leave out.
			from, err := uuid.Parse(after)
			return func(yield func(T) bool) {
				first := err == nil
				tree.AscendGreaterOrEqual(probe(from), func(record T) bool {
					if first {
						first = false
						if id(record) == after {
							return true
						}
					}
					return yield(record)
				})
			}
		},
		Get: func(text string) (record T, found bool) {
			id, err := uuid.Parse(text)
			if err != nil {
				return record, false
			}
			return tree.Get(probe(id))
		},
		Len: tree.Len,
	}
}

// inSlice are records that are in order already.
func inSlice[T any](records []T, id func(T) string) rest.Source[T] {
	find := func(text string) (int, bool) {
		return slices.BinarySearchFunc(records, text, func(record T, text string) int { return strings.Compare(id(record), text) })
	}
	return rest.Source[T]{
		After: func(after string) iter.Seq[T] {
			i, found := find(after)
			if found {
				i++
			}
			return slices.Values(records[i:])
		},
		Get: func(text string) (record T, found bool) {
			i, found := find(text)
			if !found {
				return record, false
			}
			return records[i], true
		},
		Len: func() int { return len(records) },
	}
}

// counts remembers how many servers the pools of a snapshot have. Counting them takes a
// walk through the pool, and whoever reads a list page by page asks again and again. To
// keep the counts in the snapshot would mean to copy thousands of them with each change.
type counts struct {
	mu     sync.Mutex
	of     weak.Pointer[Snapshot] // must not keep it alive
	byPool map[uuid.UUID]int
}

func (c *counts) servers(s *Snapshot, pool uuid.UUID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of.Value() != s {
		c.of, c.byPool = weak.Make(s), make(map[uuid.UUID]int)
	}
	n, known := c.byPool[pool]
	if !known {
		for range s.Servers(pool) {
			n++
		}
		c.byPool[pool] = n
	}
	return n
}
