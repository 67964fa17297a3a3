package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// demo is a running demonstration.
type demo struct {
	*ocloud.OCloud
	dir    string // .demo in the checkout
	spokes []string
	trust  *ocloud.Trust

	monitoring map[string]*ocloud.Monitoring // by spoke
}

// runDemo starts everything, shows what there is to see, and stays until ctx ends.
func runDemo(ctx context.Context, spokes int) error {
	if spokes < 2 {
		return fmt.Errorf("--clusters is %d: the demo shows two managed clusters at least", spokes)
	}
	dir, err := demoDir()
	if err != nil {
		return err
	}
	if pid, running := runningDemo(dir); running {
		return fmt.Errorf("a demo runs already as process %d: make demo-down stops it", pid)
	}
	if err := writePID(dir); err != nil {
		return err
	}
	defer os.Remove(pidFile(dir))
	defer os.Remove(envFile(dir))

	began := time.Now()
	d, err := start(ctx, dir, spokes)
	if d != nil {
		defer d.stop()
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	fmt.Printf("\n%.0f s after the start. Logs are in %s.\n", time.Since(began).Seconds(), filepath.Join(dir, "state"))
	if err := d.show(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if err := os.WriteFile(readyFile(dir), nil, 0o644); err != nil {
		return err
	}
	defer os.Remove(readyFile(dir))
	<-ctx.Done()
	return nil
}

// interrupted hides what a Ctrl-C broke off.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func start(ctx context.Context, dir string, spokes int) (*demo, error) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return nil, err
	}
	if _, err := harness.EnsureCommand(ctx, "jq", "jq", os.Stdout); err != nil {
		return nil, err
	}
	if _, err := harness.EnsureCommand(ctx, "curl", "curl", os.Stdout); err != nil {
		return nil, err
	}
	cloud, err := ocloud.Start(ctx, ocloud.Options{
		Binary: filepath.Join(root, "bin", "o2ims"), Dir: filepath.Join(dir, "state"), Progress: os.Stdout,
		Monitoring: true,
	})
	if err != nil {
		return nil, err
	}
	d := &demo{OCloud: cloud, dir: dir, monitoring: map[string]*ocloud.Monitoring{}}
	if err := d.joinSpokes(ctx, spokes); err != nil {
		return d, err
	}
	fmt.Println("         clusteradm addon enable --names o2ims --clusters …")
	if err := d.EnableAddOn(ctx, d.spokes...); err != nil {
		return d, err
	}
	if err := d.startMonitoring(ctx); err != nil {
		return d, err
	}
	if d.trust, err = cloud.StartTrust(ctx); err != nil {
		return d, err
	}
	fmt.Printf("         registered with the SMO at %s, an authorization server is at %s\n", d.trust.SMO.URL, d.trust.Issuer.Issuer)
	if err := d.writeEnv(ctx); err != nil {
		return d, err
	}
	return d, d.waitReported(ctx)
}

// startMonitoring gives every spoke an Alertmanager and a Prometheus.
func (d *demo) startMonitoring(ctx context.Context) error {
	var group errgroup.Group
	var mu sync.Mutex
	for _, name := range d.spokes {
		group.Go(func() error {
			m, err := d.StartMonitoring(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			d.monitoring[name] = m
			return err
		})
	}
	return group.Wait()
}

// joinSpokes joins spoke1, whose node is this machine, and the others, each with three
// nodes made from snapshots of real machines.
func (d *demo) joinSpokes(ctx context.Context, spokes int) error {
	var group errgroup.Group
	group.SetLimit(3) // more at once only slow each other down
	for i := range spokes {
		name := fmt.Sprintf("spoke%d", i+1)
		d.spokes = append(d.spokes, name)
		group.Go(func() error {
			nodes := []machines.Machine{machines.Local("this-machine")}
			if i > 0 {
				var err error
				nodes, err = machines.SnapshotSet(ctx, filepath.Join(d.Env.Dir(), "machines", name), i-1)
				if err != nil {
					return err
				}
			}
			_, err := d.AddSpoke(ctx, name, nodes...)
			return err
		})
	}
	return group.Wait()
}

// waitReported waits until every node of every spoke is in the inventory and OCM says
// that the add-on is available.
func (d *demo) waitReported(ctx context.Context) error {
	return d.Eventually(ctx, "all machines in the inventory, and the add-on Available", func(ctx context.Context) error {
		var managers []struct {
			ID string `json:"deploymentManagerId"`
		}
		if err := d.Get(ctx, inventoryV1+"/deploymentManagers", &managers); err != nil {
			return err
		}
		if len(managers) != len(d.spokes) {
			return fmt.Errorf("%d deployment managers of %d: %w", len(managers), len(d.spokes), ocloud.ErrNotYet)
		}
		for _, name := range d.spokes {
			if err := d.reported(ctx, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

func (d *demo) reported(ctx context.Context, name string) error {
	servers, err := d.servers(ctx, name)
	if err != nil {
		return err
	}
	want := 3
	if name == d.spokes[0] {
		want = 1
	}
	if len(servers) != want {
		return fmt.Errorf("%d servers of %d: %w", len(servers), want, ocloud.ErrNotYet)
	}
	for _, s := range servers {
		if len(s.Elements) < 3 {
			return fmt.Errorf("server %s has not been probed: %w", s.ID, ocloud.ErrNotYet)
		}
	}
	return d.addOnAvailable(ctx, name)
}

// stop ends everything; also what a second Ctrl-C would have ended.
func (d *demo) stop() {
	fmt.Println("\nstopping")
	began := time.Now()
	if d.trust != nil {
		d.trust.Stop()
	}
	d.Stop()
	fmt.Printf("stopped in %.0f s; nothing is left running\n", time.Since(began).Seconds())
}

func demoDir() (string, error) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".demo")
	return dir, errors.Join(os.MkdirAll(dir, 0o755))
}
