// Command ocm is Open Cluster Management in one binary: the hub's controllers, its
// webhooks and the klusterlet agent, chosen by the first argument, and the manifests
// they need, printed by `ocm manifests`.
//
// OCM ships one image per part and operators that install them as Deployments. Nothing
// runs Deployments in a test environment of plain processes, so this command takes the
// parts without the operators, and prints what the operators would have applied. One
// binary instead of five: it builds in one go and its processes share pages.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/featuregate"
	"open-cluster-management.io/api/feature"
	"open-cluster-management.io/ocm/pkg/cmd/hub"
	spokecmd "open-cluster-management.io/ocm/pkg/cmd/spoke"
	"open-cluster-management.io/ocm/pkg/features"
	"open-cluster-management.io/ocm/pkg/registration/spoke"
)

func main() {
	root := &cobra.Command{
		Use:          "ocm",
		Short:        "Open Cluster Management's hub controllers, webhooks and klusterlet agent",
		SilenceUsage: true,
	}
	root.AddCommand(
		named("registration", gated(hub.NewRegistrationController(), feature.DefaultHubRegistrationFeatureGates)),
		named("placement", hub.NewPlacementController()),
		named("work-manager", gated(hub.NewWorkController(), feature.DefaultHubWorkFeatureGates)),
		named("addon-manager", hub.NewAddonManager()),
		named("klusterlet", newKlusterlet()),
		newWebhooks(),
		newManifests(),
	)
	os.Exit(cli.Run(root))
}

// named gives one of OCM's commands a name of its own: most of them are called
// "controller", "manager" or "agent", since each is alone in its image.
func named(name string, cmd *cobra.Command) *cobra.Command {
	cmd.Use = name
	return cmd
}

// gated gives a hub command its feature gates, as OCM's own main packages do. The gates
// are one object for all commands, and each knows a gate once: so they are registered
// when the command runs, not when it is made.
func gated(cmd *cobra.Command, gates map[featuregate.Feature]featuregate.FeatureSpec) *cobra.Command {
	var values string
	cmd.Flags().StringVar(&values, "feature-gates", "", "Feature gates as name=true,name=false.")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if err := features.HubMutableFeatureGate.Add(gates); err != nil {
			return err
		}
		return features.HubMutableFeatureGate.Set(values)
	}
	return cmd
}

// newKlusterlet is the klusterlet agent (registration and work in one process) with the
// interval of the add-on lease check as a flag. OCM's 30 seconds make every test that
// waits for an add-on to become Available slow; the variable is exported for tests.
func newKlusterlet() *cobra.Command {
	cmd := spokecmd.NewKlusterletAgentCmd()
	cmd.Flags().DurationVar(&spoke.AddOnLeaseControllerSyncInterval, "addon-lease-sync-interval",
		spoke.AddOnLeaseControllerSyncInterval, "How often add-on leases are checked.")
	return cmd
}
