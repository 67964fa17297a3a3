// Command fleet fills a hub with made-up managed clusters that report real reports, and
// lets them change. It is meant for hubs that are there to be tried, never for one in use.
//
//	go run ./hack/fleet --kubeconfig hub.kubeconfig --clusters 500 --nodes 10
//	go run ./hack/fleet --kubeconfig hub.kubeconfig --clusters 500 --nodes 10 --change-rate 1s
//
// Started again with the same flags it adds what is missing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/o2ims/o2ims/test/harness/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	fleet      fleet.Fleet
	kubeconfig string
	workers    int
	settled    bool
	changeRate time.Duration
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "fleet", Short: "Fill a hub with made-up managed clusters", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the hub, with the rights of an administrator")
	flags.IntVar(&o.fleet.Clusters, "clusters", 100, "managed clusters")
	flags.IntVar(&o.fleet.Nodes, "nodes", 3, "nodes of each managed cluster")
	flags.Uint64Var(&o.fleet.Seed, "seed", 1, "equal seeds make equal fleets")
	flags.StringVar(&o.fleet.Prefix, "prefix", "fleet", "of the managed clusters' names")
	flags.IntVar(&o.workers, "workers", 8, "managed clusters written side by side")
	flags.BoolVar(&o.settled, "settled", true, "write add-ons as the hub's controllers leave the first one, which spares them a dozen writes each")
	flags.DurationVar(&o.changeRate, "change-rate", 0, "then change one server each so often, until interrupted; 0 ends")
	return cmd
}

func (o options) validate() error {
	faults := []error{o.fleet.Validate()}
	if o.kubeconfig == "" {
		faults = append(faults, errors.New("--kubeconfig is required"))
	}
	if o.workers < 1 || o.workers > 256 {
		faults = append(faults, fmt.Errorf("--workers is %d, want 1 to 256", o.workers))
	}
	if o.changeRate != 0 && o.changeRate < 10*time.Millisecond {
		faults = append(faults, fmt.Errorf("--change-rate is %s, want at least 10ms, or 0", o.changeRate))
	}
	return errors.Join(faults...)
}

func run(ctx context.Context, o options, out io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	w, err := fleet.NewWriter(config)
	if err != nil {
		return err
	}
	err = w.Load(ctx, o.fleet, fleet.LoadOptions{
		Workers: o.workers, Settled: o.settled, Tell: func(p fleet.Progress) { fmt.Fprintln(out, p) },
	})
	if err != nil || o.changeRate == 0 {
		return err
	}
	return change(ctx, w, o, out)
}

// change lets one server after another change until ctx ends.
func change(ctx context.Context, w *fleet.Writer, o options, out io.Writer) error {
	rng := rand.New(rand.NewPCG(o.fleet.Seed, uint64(time.Now().UnixNano())))
	ticker := time.NewTicker(o.changeRate)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		plan, err := w.PlanChange(ctx, o.fleet, rng)
		if err != nil {
			return err
		}
		c, err := w.Make(ctx, plan)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s  %s: BIOS %s, resourceId %s, acknowledged in %s\n",
			c.Acknowledged.UTC().Format("15:04:05.000"), c.Node, c.BIOS, c.ResourceID(), c.Acknowledged.Sub(c.Sent).Round(100*time.Microsecond))
	}
}
