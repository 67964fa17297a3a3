package e2e

import (
	"testing"

	"github.com/o2ims/o2ims/test/harness/machines"
)

// TestTheMachineItRunsOn follows the main thread: the probe reads this machine, the
// agent reports it, the hub serves it. What it is held against was read without any code
// of the product.
func TestTheMachineItRunsOn(t *testing.T) {
	t.Parallel()
	server := servers(t.Context(), t, edge)[edgeLocal]
	facts := machines.Local(edgeLocal).Facts()
	if got := server.ElementsOf("processor"); len(got) == 0 || got[0].Extensions.Model != facts.Processor {
		t.Errorf("processors = %+v, want model %q", got, facts.Processor)
	}
	if got, want := len(server.ElementsOf("storage")), len(facts.Disks); got != want {
		t.Errorf("%d disks, want %d: %+v", got, want, facts.Disks)
	}
	if got, want := len(server.ElementsOf("port")), len(facts.NICs); got != want {
		t.Errorf("%d ports, want %d: %+v", got, want, facts.NICs)
	}
}
