package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// verifyOptions are the settings of `o2ims verify`.
type verifyOptions struct {
	url       string
	tokenFile string
	caFile    string
	journal   string
	wait      time.Duration
	json      bool
}

// tokenVariable is where the token is taken from when no file is named.
const tokenVariable = "O2IMS_TOKEN"

func newVerifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Tell whether every change has reached every subscriber",
		Long: `Tell whether every change has reached every subscriber.

It reads the ledger of an O-Cloud (` + subscription.AdminPath + `), which takes an
administrator's token, from --token-file or the variable ` + tokenVariable + `. With the journal of
"o2ims smo" it also checks that what the O-Cloud says was delivered did arrive.

It fails when anything is lost, and when something is not delivered yet.`,
		Example: `  o2ims verify --url https://o2ims.example.net --ca-file ca.pem --wait 1m
  o2ims verify --url https://o2ims.example.net --journal smo.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.run(cmd.Context(), cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.url, "url", "", "https://host[:port] of the O-Cloud")
	cmd.Flags().StringVar(&o.tokenFile, "token-file", "", "file with a bearer token")
	cmd.Flags().StringVar(&o.caFile, "ca-file", "", "certificates in PEM to trust")
	cmd.Flags().StringVar(&o.journal, "journal", "", "journal of o2ims smo to compare with")
	cmd.Flags().DurationVar(&o.wait, "wait", 0, "how long to wait for what is pending")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the ledger as JSON")
	_ = cmd.MarkFlagRequired("url") // it exists
	return cmd
}

func (o *verifyOptions) run(ctx context.Context, out io.Writer) error {
	client, token, err := o.client()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(o.wait)
	for {
		ledger, err := o.fetch(ctx, client, token)
		if err != nil {
			return err
		}
		lost, late := ledger.Judge()
		if len(late) == 0 || len(lost) > 0 || time.Now().After(deadline) {
			return o.report(out, ledger, lost, late)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (o *verifyOptions) client() (*http.Client, string, error) {
	token := os.Getenv(tokenVariable)
	if o.tokenFile != "" {
		text, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, "", err
		}
		token = string(text)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, "", err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("%s holds no certificate: %w", o.caFile, fault.Invalid)
		}
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment}}, strings.TrimSpace(token), nil
}

func (o *verifyOptions) fetch(ctx context.Context, client *http.Client, token string) (*subscription.Ledger, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.url, "/")+subscription.AdminPath, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return nil, fmt.Errorf("%s answered %s: %s", subscription.AdminPath, response.Status, text)
	}
	var ledger subscription.Ledger
	if err := json.NewDecoder(response.Body).Decode(&ledger); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &ledger, nil
}

var (
	errLost = errors.New("something is missing")
	errLate = errors.New("something is not delivered yet")
)

// report prints the judgement and returns what is wrong.
func (o *verifyOptions) report(out io.Writer, l *subscription.Ledger, lost, late []string) error {
	if o.journal != "" {
		unseen, err := compareJournal(l, o.journal)
		if err != nil {
			return err
		}
		lost = append(lost, unseen...)
	}
	if o.json {
		if err := json.NewEncoder(out).Encode(l); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "journal: %d changes; %d subscriptions; Redis durability: %s\n", l.Journal.Newest, len(l.Subscriptions), l.Store.Durability)
		for _, s := range l.Subscriptions {
			fmt.Fprintf(out, "%s  %-9s  delivered %d, filtered %d, dropped %d, pending %d  %s\n", s.ID, s.State, s.Delivered, s.Filtered, s.Dropped, s.Pending, s.Callback)
		}
		for _, c := range l.Clusters {
			fmt.Fprintf(out, "cluster %s: report %d of %d applied\n", c.Cluster, c.Applied, c.Reported)
			if a := c.Alerts; a != nil {
				fmt.Fprintf(out, "cluster %s: %d of %d transitions of alerts applied, %d of them compacted, %d lost\n",
					c.Cluster, a.Applied, a.Journalled, a.Compacted, a.Lost)
			}
		}
		for _, line := range lost {
			fmt.Fprintln(out, "LOST:", line)
		}
		for _, line := range late {
			fmt.Fprintln(out, "late:", line)
		}
	}
	switch {
	case len(lost) > 0:
		return errLost
	case len(late) > 0:
		return errLate
	}
	if !o.json {
		fmt.Fprintln(out, "nothing is missing")
	}
	return nil
}

// compareJournal tells what the O-Cloud believes to have delivered and the SMO has not
// taken. Subscriptions whose callback is not in the journal belong to somebody else.
func compareJournal(l *subscription.Ledger, file string) ([]string, error) {
	entries, err := simulator.ReadJournal(file)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]map[string]bool) // by path: notificationIds
	var wrong []string
	for _, e := range entries {
		if !e.Taken {
			continue
		}
		if taken[e.Path] == nil {
			taken[e.Path] = make(map[string]bool)
		}
		taken[e.Path][e.NotificationID] = true
		if e.Break {
			wrong = append(wrong, fmt.Sprintf("%s was told a prior state of %s that does not follow on what it was told before", e.Path, e.ObjectRef))
		}
	}
	delivered := make(map[string]uint64) // by path: several subscriptions may share one
	for _, s := range l.Subscriptions {
		if u, err := url.Parse(s.Callback); err == nil {
			delivered[u.Path] += s.Delivered
		}
	}
	for path, ids := range taken {
		if said := delivered[path]; uint64(len(ids)) < said {
			wrong = append(wrong, fmt.Sprintf("%s took %d notifications, and %d are said to be delivered", path, len(ids), said))
		}
	}
	return wrong, nil
}
