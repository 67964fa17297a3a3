// Command conformance judges a running O2 IMS infrastructure inventory: one line for each
// requirement, what failed and why, and exit code 1 when anything did.
//
//	conformance --url https://o2ims.example.net --token "$TOKEN"
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/test/contract/conformance"
)

// Exit codes beside 0.
const (
	exitFailed    = 1 // the server does something wrong
	exitCannotRun = 2 // bad settings, or no server
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		stop()
		os.Exit(exitCannotRun)
	case failed:
		stop()
		os.Exit(exitFailed)
	}
}

// options are the settings, one flag each.
type options struct {
	url, token, readerToken, ca, profile string
	without, only                        []string
	noSkip, list, monitoring             bool
	seed                                 uint64
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.url, "url", os.Getenv("O2IMS_URL"), "https://host[:port] of the server; default $O2IMS_URL")
	f.StringVar(&o.token, "token", "", "bearer token of a caller who may do everything; default $O2IMS_TOKEN")
	f.StringVar(&o.readerToken, "reader-token", "", "bearer token of a caller with role o2ims-reader only; default $O2IMS_TOKEN_READER")
	f.StringVar(&o.ca, "ca", os.Getenv("O2IMS_CA"), "file with the CA certificates to trust, in PEM; default $O2IMS_CA, else the system's")
	f.StringVar(&o.profile, "profile", "default", "which versions the server must serve: v1, or default for all")
	f.StringSliceVar(&o.without, "without", nil, "groups of cases to leave out, such as SUB: what the server does not claim to have")
	f.StringSliceVar(&o.only, "only", nil, "groups of cases to run, such as FLT,SEL; all without it")
	f.BoolVar(&o.noSkip, "no-skip", false, "a case that finds nothing to try itself on has failed")
	f.BoolVar(&o.monitoring, "monitoring", true, "the server has the infrastructure monitoring in the same versions: run the cases about it, too")
	f.BoolVar(&o.list, "list", false, "print all cases with their clauses and end")
	f.Uint64Var(&o.seed, "seed", 1, "chooses the random filters")
}

func run(ctx context.Context, args []string, out io.Writer) (failed bool, err error) {
	var o options
	flags := pflag.NewFlagSet("conformance", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if o.list {
		return false, list(out)
	}
	target, err := o.target()
	if err != nil {
		return false, err
	}
	report, err := conformance.Run(ctx, target)
	if err != nil {
		return false, err
	}
	return len(report.Failed()) > 0, report.Write(out)
}

// list prints what is required, and by whom.
func list(out io.Writer) error {
	for _, c := range conformance.Cases() {
		if _, err := fmt.Fprintf(out, "%-12s %-32s %s\n", c.ID, c.Source, c.Expect); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) target() (conformance.Target, error) {
	t := conformance.Target{
		URL: strings.TrimSuffix(o.url, "/"), Token: o.token, ReaderToken: o.readerToken,
		Without: o.without, Only: o.only, NoSkip: o.noSkip, Monitoring: o.monitoring, Seed: o.seed,
	}
	// Tokens are no defaults of flags: --help would print them.
	if t.Token == "" {
		t.Token = os.Getenv("O2IMS_TOKEN")
	}
	if t.ReaderToken == "" {
		t.ReaderToken = os.Getenv("O2IMS_TOKEN_READER")
	}
	var err error
	if t.Majors, err = conformance.Profile(o.profile); err != nil {
		return t, err
	}
	if o.ca != "" {
		if t.CA, err = os.ReadFile(o.ca); err != nil {
			return t, fmt.Errorf("ca: %w", err)
		}
	}
	return t, nil
}
