package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// newReportCommand gives access to what agents report, for people.
func newReportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Look into the reports of managed clusters"}
	cmd.AddCommand(newReportDecodeCommand())
	return cmd
}

// decodeOptions are the settings of `o2ims report decode`.
type decodeOptions struct {
	kubeconfig string
	cluster    string
	why        string
	raw        bool
}

func newReportDecodeCommand() *cobra.Command {
	var o decodeOptions
	cmd := &cobra.Command{
		Use:   "decode [FILE|-]",
		Short: "Print the inventory that a ManagedClusterAddOn carries in its status",
		Long: `Print the inventory that a ManagedClusterAddOn carries in its status, as JSON.

It reads what kubectl prints, one add-on or a list of them, or asks the hub itself. The
report passes the same checks as on the hub. Its head goes to standard error.`,
		Example: `  kubectl get managedclusteraddon o2ims -n edge-1 -o yaml | o2ims report decode
  o2ims report decode --cluster edge-1 --why 0b6d8d5c-3f53-5c0e-9c3d-6f1d2f1f2a11`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			carriers, err := o.read(cmd, args)
			if err != nil {
				return fmt.Errorf("report decode: %w", err)
			}
			if err := o.decode(cmd.OutOrStdout(), cmd.ErrOrStderr(), carriers); err != nil {
				return fmt.Errorf("report decode: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the hub; without it, as kubectl finds it")
	cmd.Flags().StringVar(&o.cluster, "cluster", "", "ask the hub for the add-on of this managed cluster; of a file, decode only this one")
	cmd.Flags().StringVar(&o.why, "why", "", "tell which source set each attribute of the resource with this resourceId")
	cmd.Flags().BoolVar(&o.raw, "raw", false, "print the JSON as it was reported, byte by byte")
	cmd.MarkFlagsMutuallyExclusive("why", "raw")
	return cmd
}

// read gets the add-ons from a file, from standard input or from the hub.
func (o *decodeOptions) read(cmd *cobra.Command, args []string) ([]report.Carrier, error) {
	switch {
	case len(args) == 0 && o.cluster != "":
		return o.fetch(cmd.Context())
	case o.kubeconfig != "":
		return nil, fmt.Errorf("--kubeconfig asks the hub, which takes --cluster and no file: %w", fault.Invalid)
	}
	input := cmd.InOrStdin()
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		input = f
	}
	carriers, err := report.ReadYAML(input)
	if err != nil || o.cluster == "" {
		return carriers, err
	}
	for _, c := range carriers {
		if c.Cluster == o.cluster {
			return []report.Carrier{c}, nil
		}
	}
	return nil, fmt.Errorf("cluster %q in the input: %w", o.cluster, fault.NotFound)
}

// fetch reads one add-on from the hub.
func (o *decodeOptions) fetch(ctx context.Context) ([]report.Carrier, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := addonv1beta1.Install(scheme); err != nil {
		return nil, err
	}
	hub, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	var addon addonv1beta1.ManagedClusterAddOn
	if err := hub.Get(ctx, client.ObjectKey{Namespace: o.cluster, Name: report.AddOnName}, &addon); err != nil {
		return nil, err
	}
	return []report.Carrier{{Cluster: o.cluster, Conditions: addon.Status.Conditions}}, nil
}

func (o *decodeOptions) decode(out, notes io.Writer, carriers []report.Carrier) error {
	decoder, err := report.NewDecoder()
	if err != nil {
		return err
	}
	switch {
	case o.why != "":
		return o.explain(out, decoder, carriers)
	case o.raw:
		return each(carriers, func(c report.Carrier) error {
			head, body, err := decoder.Body(c.Cluster, c.Conditions)
			if err != nil {
				return err
			}
			fmt.Fprintf(notes, "%s: %s\n", c.Cluster, head)
			_, err = fmt.Fprintf(out, "%s\n", body)
			return err
		})
	}
	return each(carriers, func(c report.Carrier) error {
		rep, err := decoder.Decode(c.Cluster, c.Conditions)
		if err != nil {
			return err
		}
		fmt.Fprintf(notes, "%s: %s: %s\n", c.Cluster, rep.Reason, rep.Head)
		return printJSON(out, rep.Inventory)
	})
}

// each goes on after a fault: one bad report of a list must not hide the others.
func each(carriers []report.Carrier, do func(report.Carrier) error) error {
	var faults []error
	for _, c := range carriers {
		faults = append(faults, do(c))
	}
	return errors.Join(faults...)
}

func printJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// explain looks for the resource in all reports that can be read.
func (o *decodeOptions) explain(out io.Writer, decoder *report.Decoder, carriers []report.Carrier) error {
	id, err := uuid.Parse(o.why)
	if err != nil {
		return fmt.Errorf("--why %q: %v: %w", o.why, err, fault.Invalid)
	}
	var faults []error
	for _, c := range carriers {
		rep, err := decoder.Decode(c.Cluster, c.Conditions)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		x, err := report.Explain(rep.Inventory, id)
		if err == nil {
			return printExplanation(out, x)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func printExplanation(out io.Writer, x report.Explanation) error {
	fmt.Fprintf(out, "resource %s is %s of node %s in cluster %s\n\n", x.ID, x.What, x.Node, x.Cluster)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ATTRIBUTE\tSOURCE\tVALUE")
	for _, a := range x.Attributes {
		source := a.Source
		if source == "" {
			source = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", a.Path, source, a.Value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range x.Conflicts {
		fmt.Fprintf(out, "\nconflict: %s is %q by %s; %s says %q\n", c.Path, c.Kept, c.Winner, c.Source, c.Other)
	}
	for _, s := range x.Sources {
		trouble := s.Missing
		if s.Error != "" {
			trouble = append([]string{s.Error}, trouble...)
		}
		fmt.Fprintf(out, "\nsource %s on this node: %s\n", s.Name, strings.Join(trouble, "; "))
	}
	return nil
}
