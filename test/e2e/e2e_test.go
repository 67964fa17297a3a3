// Package e2e shows, on a real hub with real managed clusters, that o2ims does its main
// job and that what breaks mends: processes are killed, links cut, clusters detached,
// and the inventory is right afterwards.
//
// One environment serves all tests; each test has managed clusters of its own, joined
// when it needs them.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/ocloud"
)

// cloud is the environment of this test run; nil under -short.
var cloud *ocloud.OCloud

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: these tests need a real hub, which -short leaves out")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	root, err := harness.RepositoryRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cloud, err = ocloud.Start(context.Background(), ocloud.Options{
		Binary:   filepath.Join(root, "bin", "o2ims"),
		Progress: os.Stdout,
		Values: map[string]any{"manager": map[string]any{
			"replicas":  2,
			"extraArgs": []any{"--leader-lease-duration=3s"},
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "environment:", err)
		return 1
	}
	defer cloud.Stop()
	return m.Run()
}
