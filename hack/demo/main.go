// Command demo shows o2ims at work on this machine: a real hub, real managed clusters,
// agents and probes, and the API. `demo run` stays in the foreground; `demo up` and
// `demo down` do the same in the background.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/o2ims/o2ims/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{Use: "demo", Short: "o2ims at work on this machine", SilenceUsage: true, SilenceErrors: true}
	var spokes int
	run := &cobra.Command{
		Use: "run", Short: "Start everything and stay until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), spokes) },
	}
	up := &cobra.Command{
		Use: "up", Short: "Start everything in the background", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return up(cmd.Context(), spokes) },
	}
	for _, c := range []*cobra.Command{run, up} {
		c.Flags().IntVar(&spokes, "clusters", 2, "managed clusters to join")
	}
	down := &cobra.Command{
		Use: "down", Short: "Stop what up started", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return down(cmd.Context()) },
	}
	prepare := &cobra.Command{
		Use: "prepare", Short: "Build the programs that run and tests need, into the cache", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return harness.Prepare(cmd.Context(), os.Stdout) },
	}
	root.AddCommand(run, up, down, prepare, newDeployCommand(), newUndeployCommand(), newMachineCommand())
	return root
}
