package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/o2ims/o2ims/test/harness/machines"
)

// newMachineCommand lets a user put a hand on the hardware of a synthetic machine.
func newMachineCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "machine FOLDER (plug|unplug PORT | pull DISK)",
		Short: "Change the hardware of a synthetic machine: a cable in or out, a disk out",
		Example: `  demo machine $SPOKE2_R610 unplug enp5s0f0
  demo machine $SPOKE2_R610 pull sda`,
		Args: cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := machines.Open(args[0])
			if err != nil {
				return err
			}
			switch what, part := args[1], args[2]; what {
			case "plug", "unplug":
				return m.Change(machines.SetLink(part, what == "plug"))
			case "pull":
				return m.Change(machines.RemoveDisk(part))
			default:
				return fmt.Errorf("%q is not plug, unplug or pull", what)
			}
		},
	}
}
