// Command o2ims makes an Open Cluster Management hub and its managed clusters an
// O-RAN O-Cloud: `o2ims manager` runs on the hub, `o2ims agent` and `o2ims probe` on
// every managed cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/o2ims/o2ims/pkg/agent"
	"github.com/o2ims/o2ims/pkg/manager"
	"github.com/o2ims/o2ims/pkg/probe"
)

// version is set at build time: -ldflags "-X main.version=v0.1.0".
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "o2ims:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "o2ims",
		Short:         "An O-RAN O2 IMS for Open Cluster Management",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServiceCommand("manager", "Serve the O2 IMS APIs on the hub and deploy the agent to managed clusters", &manager.Options{}, manager.Run),
		newServiceCommand("agent", "Report the hardware of a managed cluster to the hub", &agent.Options{}, agent.Run),
		newServiceCommand("probe", "Inspect the machine it runs on and leave the result for the agent", &probe.Options{}, probe.Run),
		newReportCommand(),
		newSMOCommand(),
		newVerifyCommand(),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), buildVersion()) },
		},
	)
	return root
}

// options are the settings of one service.
type options[T any] interface {
	*T
	AddFlags(*pflag.FlagSet)
	Validate() error
}

// newServiceCommand runs a service until it is told to stop.
func newServiceCommand[T any, O options[T]](name, short string, o O, run func(context.Context, T) error) *cobra.Command {
	level := slog.LevelInfo
	cmd := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			setUpLogging(level)
			err := run(cmd.Context(), *o)
			if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		},
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().TextVar(&level, "log-level", slog.LevelInfo, "least severe messages to log: debug, info, warn or error")
	return cmd
}

// setUpLogging makes one handler serve our own code, controller-runtime and client-go.
func setUpLogging(level slog.Level) {
	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	slog.SetDefault(slog.New(handler))
	ctrllog.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(slog.New(handler))
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
