// Package fleet measures the manager at the size of a fleet: on a real hub with all of
// OCM's controllers, thousands of made-up managed clusters and the product as its chart
// installs it, at its default flags.
//
// `make bench-fleet` runs the sizes of the design; RESULTS.md has what came out and where
// the rest goes. Without flags a small fleet is measured, which shows that the measuring
// works; its figures mean nothing.
package fleet

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/fleet"
	"github.com/o2ims/o2ims/test/ocloud"
)

var (
	sizes   = flag.String("fleet.sizes", "12x3", "fleets to measure, each on a hub of its own: clusters x nodes, separated by commas")
	seed    = flag.Uint64("fleet.seed", 1, "equal seeds make equal fleets")
	workers = flag.Int("fleet.workers", 8, "managed clusters written side by side")
	settled = flag.Bool("fleet.settled", true, "write add-ons as the hub's controllers leave the first one")
	changes = flag.Int("fleet.changes", 20, "reports that change while we look")
	starts  = flag.Int("fleet.starts", 1, "cold starts to measure")
	binary  = flag.String("fleet.binary", "", "o2ims to measure; empty: bin/o2ims")
	patient = flag.Duration("fleet.patience", 10*time.Minute, "how long the hub's controllers get for a new fleet")
	again   = flag.Bool("fleet.again", false, "measure again whenever the binary is replaced, until interrupted")
)

// Targets of the design, section 6.
const (
	targetStart  = 15 * time.Second
	targetRSS    = 512 << 20
	targetChange = 250 * time.Millisecond
)

func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real hub, which -short leaves out")
	}
	for size := range strings.SplitSeq(*sizes, ",") {
		f := fleet.Fleet{Seed: *seed, Prefix: "fleet"}
		if _, err := fmt.Sscanf(size, "%dx%d", &f.Clusters, &f.Nodes); err != nil {
			t.Fatalf("-fleet.sizes: %q: %v", size, err)
		}
		t.Run(size, func(t *testing.T) { measure(t, f) })
	}
}

func measure(t *testing.T, f fleet.Fleet) {
	ctx := t.Context()
	path := *binary
	if path == "" {
		root, err := harness.RepositoryRoot()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(root, "bin", "o2ims")
	}
	cloud, err := ocloud.Start(ctx, ocloud.Options{Binary: path, Progress: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Stop()
	w, err := fleet.NewWriter(cloud.Env.Hub.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{cloud: cloud, writer: w, fleet: f}
	loaded, err := h.load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := h.measure(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.load = loaded
		fmt.Println(r)
		r.check(t)
		if !*again || !replaced(ctx, path) {
			return
		}
	}
}

// replaced waits for another file at path; false when ctx ends first.
func replaced(ctx context.Context, path string) bool {
	before, err := os.Stat(path)
	if err != nil {
		return false
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		if now, err := os.Stat(path); err == nil && !now.ModTime().Equal(before.ModTime()) {
			return true
		}
	}
}

// check fails where a figure is not what it must be at any size: that the changes arrive
// at all, and at the sizes of the design that the targets are met. Times are not checked:
// they are the machine's as much as ours, and stand in the output.
func (r *result) check(t *testing.T) {
	t.Helper()
	if r.servers != r.fleet.Clusters*r.fleet.Nodes {
		t.Errorf("the API has %d servers, want %d", r.servers, r.fleet.Clusters*r.fleet.Nodes)
	}
	if r.late > 0 {
		t.Errorf("%d of %d changes did not reach the API within %s", r.late, len(r.sinceAck)+r.late, changePatience)
	}
	if r.changed.HWM > targetRSS {
		t.Errorf("the manager's memory reached %s, want at most %s", mebibytes(r.changed.HWM), mebibytes(targetRSS))
	}
}
