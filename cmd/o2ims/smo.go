package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
)

// newSMOCommand is an SMO for those who build or integrate one.
func newSMOCommand() *cobra.Command {
	var o simulator.Options
	cmd := &cobra.Command{
		Use:   "smo",
		Short: "Play the SMO: take registrations and notifications, show them, and answer as told",
		Long: `Play the SMO: receive notifications at any path, show what changed, and keep a journal
that "o2ims verify" compares with what the O-Cloud says it delivered.

O-Clouds register by a POST to /registration, and a DELETE of /registration/{oCloudId} takes
that back; GET shows who is registered. GET /journal returns every notification that was
received, a line of JSON each.

It can refuse, delay, or lose acknowledgements, so that retries can be seen, and want a
token and a client certificate of those who send. Looking takes neither.`,
		Example: `  o2ims smo --listen 127.0.0.1:9090 --journal smo.jsonl
  o2ims smo --tls --tls-ca-out smo-ca.pem --fail-rate 0.3
  o2ims smo --tls --client-ca-file clients.pem --require-client-certificate \
    --oauth-issuer https://idp.example.net/realms/smo --oauth-audience smo --ca-file idp-ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			setUpLogging(slog.LevelInfo)
			return simulator.Run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.AddFlags(cmd.Flags())
	return cmd
}
