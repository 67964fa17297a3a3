// Package e2e shows, on a real hub with real managed clusters, that o2ims does its main
// job and that what breaks mends: processes are killed, links cut, clusters detached,
// and the inventory is right afterwards.
//
// One environment serves all tests. Two managed clusters are there from the start: edge,
// which every test may read, and core, whose nodes one test changes. Tests that turn a
// managed cluster upside down join one of their own.
//
// Tests that disturb the hub run one after the other, and first. All others are
// parallel, and so run after them: most of their time is spent waiting for somebody
// else's time-outs.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// cloud is the environment of this test run; nil under -short.
var cloud *ocloud.OCloud

// Managed clusters of the whole run, and their nodes.
const (
	edge      = "edge"
	edgeLocal = "local-1" // the machine that the tests run on
	edgeDell  = "r610"
	edgeRyzen = "ryzen"

	core      = "core"
	coreDell  = "r610-2"
	coreRyzen = "ryzen-2"
)

// leaseDuration is short enough to wait for, and longer than a busy machine keeps a
// leader from renewing its Lease.
const leaseDuration = 6 * time.Second

// removalGrace is short enough to wait for, and long enough for a test to disable and
// enable an add-on on a busy machine.
const removalGrace = 40 * time.Second

// The conformance suite sends more requests than a client may, and hundreds with tokens
// that are none. TestRateLimits has a manager with limits.
const (
	anyRate     = "--client-qps=0"
	anyFailures = "--auth-failures-per-minute=0"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: these tests need a real hub, which -short leaves out")
		os.Exit(0)
	}
	klog.SetLogger(logr.Discard())                          // client-go's word on watches that end with an apiserver
	if err := flag.Set("test.parallel", "16"); err != nil { // they wait more than they compute
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	cloud, err = ocloud.Start(ctx, ocloud.Options{
		Dir:      os.Getenv("E2E_DIR"), // keeps the logs; without it they go with the environment
		Progress: os.Stdout, Monitoring: true,
		Values: map[string]any{"manager": map[string]any{
			"replicas": 2,
			"extraArgs": []any{
				"--leader-lease-duration=" + leaseDuration.String(), "--removal-grace=" + removalGrace.String(),
				"--alarm-silence-after=" + alarmSilenceAfter.String(), "--alarm-start-grace=" + alarmStartGrace.String(),
				anyRate, anyFailures,
			},
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "environment:", err)
		return 1
	}
	defer cloud.Stop()
	if err := joinShared(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "environment:", err)
		return 1
	}
	code := m.Run()
	// Every process had the rights of its manifest, all run long: was one missing?
	if missing := refusals(cloud.Env.Dir()); len(missing) > 0 {
		fmt.Println("--- FAIL: rights that were missing")
		for _, line := range missing {
			fmt.Println("   ", line)
		}
		return 1
	}
	return code
}

// joinShared brings up the managed clusters that tests share.
func joinShared(ctx context.Context) error {
	first, err := snapshots(ctx, 0)
	if err != nil {
		return err
	}
	second, err := snapshots(ctx, 1)
	if err != nil {
		return err
	}
	group, each := errgroup.WithContext(ctx)
	for name, nodes := range map[string][]machines.Machine{
		edge: {machines.Local(edgeLocal), first[edgeDell], first[edgeRyzen]},
		core: {second[coreDell], second[coreRyzen]},
	} {
		group.Go(func() (err error) {
			if err = joinCluster(ctx, each, name, nodes...); err == nil && name == edge {
				edgeMonitoring, err = cloud.StartMonitoring(ctx, edge)
			}
			return err
		})
	}
	return group.Wait()
}
